/*
 * keys: the key layer. What fails returns nil, the error's code, and its message if it has one.
 *
 *   keys.parse_public(blob, heap) -> key            keys.parse_file(text, passphrase, heap) -> key
 *   keys.generate(type, bits, heap) -> key          keys.fingerprint(blob, "SHA256"|"MD5") -> text
 *   keys.algorithms() -> list of {name =, type =}, best first
 *   keys.base64_encode(bytes) -> text               keys.base64_decode(text) -> bytes
 *
 *   key:type() key:bits() key:private() key:blob() key:comment()
 *   key:sign(algorithm, data) -> signature blob     key:verify(algorithm, data, signature) -> true
 *   key:export(passphrase, comment) -> text         key:close()
 */
#include "keys/base64.h"
#include "keys/key.h"
#include "testing/heap.h"
#include "testing/testing.h"
#include "testing/util.h"

#include <lauxlib.h>

#define KEY "moonssh_testing.key"

typedef struct key_box {
    mssh_key *key;
} key_box;

static const mssh_key *check_key(lua_State *L)
{
    const key_box *box = luaL_checkudata(L, 1, KEY);
    luaL_argcheck(L, box->key != NULL, 1, "closed key");
    return box->key;
}

mssh_key *mssh_testing_key(lua_State *L, int index)
{
    const key_box *box = luaL_checkudata(L, index, KEY);
    luaL_argcheck(L, box->key != NULL, index, "closed key");
    return box->key;
}

/* A box on top of the stack, which keeps the heap at `index`, or one of its own. */
static key_box *new_box(lua_State *L, int index, mssh_mem **mem)
{
    key_box *box = lua_newuserdatauv(L, sizeof *box, 1);

    box->key = NULL;
    *mem = mssh_testing_heap_use(L, index);
    luaL_setmetatable(L, KEY);
    return box;
}

static int parse_public(lua_State *L)
{
    mssh_slice blob = mssh_testing_slice(L, 1);
    mssh_failure failure = {.code = 0};
    mssh_mem *mem;
    key_box *box;
    int rc;

    lua_settop(L, 2);
    box = new_box(L, 2, &mem);
    rc = mssh_key_parse_public(mem, blob, &box->key, &failure);
    return rc == 0 ? 1 : mssh_testing_push_error(L, rc, &failure);
}

static int parse_file(lua_State *L)
{
    mssh_slice text = mssh_testing_slice(L, 1);
    mssh_slice passphrase = mssh_testing_opt_slice(L, 2);
    mssh_failure failure = {.code = 0};
    mssh_mem *mem;
    key_box *box;
    int rc;

    lua_settop(L, 3);
    box = new_box(L, 3, &mem);
    rc = mssh_key_parse_file(mem, text, passphrase, &box->key, &failure);
    return rc == 0 ? 1 : mssh_testing_push_error(L, rc, &failure);
}

static int generate(lua_State *L)
{
    const char *type = luaL_checkstring(L, 1);
    unsigned bits = (unsigned)luaL_optinteger(L, 2, 0);
    mssh_failure failure = {.code = 0};
    mssh_mem *mem;
    key_box *box;
    int rc;

    lua_settop(L, 3);
    box = new_box(L, 3, &mem);
    rc = mssh_key_generate(mem, type, bits, &box->key, &failure);
    return rc == 0 ? 1 : mssh_testing_push_error(L, rc, &failure);
}

static int fingerprint(lua_State *L)
{
    static const char *const names[] = {"SHA256", "MD5", "SHA1", NULL};
    static const mssh_hash_id ids[] = {MSSH_HASH_SHA256, MSSH_HASH_MD5, MSSH_HASH_SHA1};
    mssh_slice blob = mssh_testing_slice(L, 1);
    char text[64];
    int rc = mssh_key_fingerprint(blob, ids[luaL_checkoption(L, 2, "SHA256", names)], text,
                                  (size_t)luaL_optinteger(L, 3, sizeof text));

    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushstring(L, text);
    return 1;
}

static int algorithms(lua_State *L)
{
    const mssh_sig_algorithm *row;

    lua_newtable(L);
    for (size_t i = 0; (row = mssh_sig_algorithm_at(i)) != NULL; i++) {
        lua_newtable(L);
        lua_pushstring(L, row->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, row->key_type);
        lua_setfield(L, -2, "type");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int base64_encode(lua_State *L)
{
    mssh_slice bytes = mssh_testing_slice(L, 1);
    mssh_mem mem;
    mssh_buf out;

    mssh_mem_init(&mem, NULL, NULL);
    mssh_buf_init(&out, &mem, SIZE_MAX / 4);
    mssh_base64_encode(bytes, &out);
    return mssh_testing_push_buf(L, out.error, &out);
}

static int base64_decode(lua_State *L)
{
    mssh_slice text = mssh_testing_slice(L, 1);
    mssh_mem mem;
    mssh_buf out;
    int rc;

    mssh_mem_init(&mem, NULL, NULL);
    mssh_buf_init(&out, &mem, SIZE_MAX / 4);
    rc = mssh_base64_decode(text, &out);
    return mssh_testing_push_buf(L, rc, &out);
}

static int key_type(lua_State *L)
{
    lua_pushstring(L, mssh_key_type(check_key(L)));
    return 1;
}

static int key_bits(lua_State *L)
{
    lua_pushinteger(L, mssh_key_bits(check_key(L)));
    return 1;
}

static int key_private(lua_State *L)
{
    lua_pushboolean(L, mssh_key_is_private(check_key(L)));
    return 1;
}

static int key_blob(lua_State *L)
{
    mssh_slice blob = mssh_key_blob(check_key(L));
    lua_pushlstring(L, (const char *)blob.data, blob.len);
    return 1;
}

static int key_comment(lua_State *L)
{
    mssh_slice comment = mssh_key_comment(check_key(L));
    lua_pushlstring(L, (const char *)comment.data, comment.len);
    return 1;
}

static int key_sign(lua_State *L)
{
    const mssh_key *key = check_key(L);
    mssh_slice algorithm = mssh_testing_slice(L, 2);
    mssh_slice data = mssh_testing_slice(L, 3);
    mssh_mem mem;
    mssh_buf out;
    int rc;

    mssh_mem_init(&mem, NULL, NULL);
    mssh_buf_init(&out, &mem, 1 << 16);
    rc = mssh_key_sign(key, algorithm, data, &out);
    return mssh_testing_push_buf(L, rc, &out);
}

static int key_verify(lua_State *L)
{
    int rc = mssh_key_verify(check_key(L), mssh_testing_slice(L, 2), mssh_testing_slice(L, 3),
                             mssh_testing_slice(L, 4));

    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

static int key_export(lua_State *L)
{
    const mssh_key *key = check_key(L);
    mssh_slice passphrase = mssh_testing_opt_slice(L, 2);
    mssh_slice comment = mssh_testing_opt_slice(L, 3);
    mssh_mem mem;
    mssh_buf out;
    int rc;

    mssh_mem_init(&mem, NULL, NULL);
    mssh_buf_init(&out, &mem, 1 << 20);
    rc = mssh_key_export(key, MSSH_KEY_OPENSSH, passphrase, comment, &out);
    return mssh_testing_push_buf(L, rc, &out);
}

static int key_close(lua_State *L)
{
    key_box *box = luaL_checkudata(L, 1, KEY);

    mssh_key_free(box->key);
    box->key = NULL;
    return 0;
}

static const luaL_Reg methods[] = {
    {"type", key_type},       {"bits", key_bits}, {"private", key_private}, {"blob", key_blob},
    {"comment", key_comment}, {"sign", key_sign}, {"verify", key_verify},   {"export", key_export},
    {"close", key_close},     {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"parse_public", parse_public},   {"parse_file", parse_file},
    {"generate", generate},           {"fingerprint", fingerprint},
    {"algorithms", algorithms},       {"base64_encode", base64_encode},
    {"base64_decode", base64_decode}, {NULL, NULL},
};

int mssh_testing_open_keys(lua_State *L)
{
    mssh_testing_new_class(L, KEY, methods, key_close);
    luaL_newlib(L, functions);
    return 1;
}
