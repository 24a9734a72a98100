/*
 * crypto.umac(tag length, key, nonce, message) -> tag; nil and the error's code when it fails
 */
#include "crypto/umac.h"
#include "base/error.h"
#include "testing/util.h"

static int umac(lua_State *L)
{
    size_t tag_len = (size_t)luaL_checkinteger(L, 1);
    mssh_slice key = mssh_testing_slice(L, 2);
    uint64_t nonce = (uint64_t)luaL_checkinteger(L, 3);
    mssh_slice message = mssh_testing_slice(L, 4);
    uint8_t tag[MSSH_UMAC_TAG_MAX];
    mssh_umac *made;
    int rc;

    luaL_argcheck(L, tag_len == 8 || tag_len == 16, 1, "8 or 16 expected");
    luaL_argcheck(L, key.len == MSSH_UMAC_KEY_LEN, 2, "wrong length");
    made = mssh_umac_new(tag_len, key.data);
    rc = made == NULL ? MSSH_ERR_UNSUPPORTED : mssh_umac_compute(made, nonce, message, tag);
    mssh_umac_free(made);
    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushlstring(L, (const char *)tag, tag_len);
    return 1;
}

void mssh_testing_add_umac(lua_State *L)
{
    lua_pushcfunction(L, umac);
    lua_setfield(L, -2, "umac");
}
