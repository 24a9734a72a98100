/*
 * Part of crypto: what key files derive their keys with.
 *
 *   crypto.blake2b(list of strings, len) -> digest
 *   crypto.argon2(passphrase, { kind = "d"|"i"|"id", memory =, passes =, lanes =, salt =, secret =,
 * associated =, len = }, heap) -> derived
 */
#include "crypto/argon2.h"
#include "crypto/blake2b.h"
#include "testing/heap.h"
#include "testing/util.h"

enum { PARTS_MAX = 16, DERIVED_MAX = 2048 };

static int blake2b(lua_State *L)
{
    mssh_slice parts[PARTS_MAX];
    uint8_t out[MSSH_BLAKE2B_MAX];
    size_t n = (size_t)luaL_len(L, 1);
    size_t len = (size_t)luaL_checkinteger(L, 2);

    luaL_argcheck(L, n <= PARTS_MAX, 1, "too many parts");
    luaL_argcheck(L, len >= 1 && len <= sizeof out, 2, "length");
    for (size_t i = 0; i < n; i++) {
        (void)lua_geti(L, 1, (lua_Integer)i + 1);
        parts[i] = mssh_testing_slice(L, -1);
    }
    mssh_blake2b(parts, n, out, len);
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

static uint32_t number(lua_State *L, const char *name)
{
    (void)lua_getfield(L, 2, name);
    return (uint32_t)luaL_checkinteger(L, -1);
}

static mssh_slice bytes(lua_State *L, const char *name)
{
    (void)lua_getfield(L, 2, name);
    return lua_isnil(L, -1) ? MSSH_SLICE_EMPTY : mssh_testing_slice(L, -1);
}

static int argon2(lua_State *L)
{
    static const char *const names[] = {"d", "i", "id", NULL};
    mssh_slice passphrase = mssh_testing_slice(L, 1);
    uint8_t out[DERIVED_MAX];
    mssh_argon2 settings;
    size_t len;
    int rc;

    lua_settop(L, 3);
    settings.memory = number(L, "memory");
    settings.passes = number(L, "passes");
    settings.lanes = number(L, "lanes");
    settings.salt = bytes(L, "salt");
    settings.secret = bytes(L, "secret");
    settings.associated = bytes(L, "associated");
    len = number(L, "len");
    luaL_argcheck(L, len <= sizeof out, 2, "len");
    (void)lua_getfield(L, 2, "kind");
    settings.kind = (mssh_argon2_kind)luaL_checkoption(L, -1, NULL, names);
    lua_settop(L, 3);
    (void)lua_newuserdatauv(L, 0, 1); /* keeps the heap */
    rc = mssh_argon2_derive(mssh_testing_heap_use(L, 3), &settings, passphrase, out, len);
    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

void mssh_testing_add_derivation(lua_State *L)
{
    lua_pushcfunction(L, blake2b);
    lua_setfield(L, -2, "blake2b");
    lua_pushcfunction(L, argon2);
    lua_setfield(L, -2, "argon2");
}
