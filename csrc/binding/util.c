/* Clock, randomness, hashes, comparison, base64, escaping. */
#include "binding/binding.h"

#include "crypto/equal.h"
#include "crypto/hash.h"
#include "crypto/rand.h"
#include "keys/base64.h"

#include <errno.h>
#include <time.h>

/* Largest single answers: nobody needs more, and sizes cannot overflow. */
enum { MOST_RANDOM = 1 << 20, MOST_BASE64 = 1 << 30, MOST_ESCAPED = 1 << 20 };

/* In the order of mssh_hash_id. */
static const char *const hash_names[] = {"md5", "sha1", "sha256", "sha384", "sha512", NULL};

static int util_now(lua_State *L)
{
    struct timespec time = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    lua_pushnumber(L, (lua_Number)time.tv_sec + (lua_Number)time.tv_nsec / 1e9);
    return 1;
}

static int util_random(lua_State *L)
{
    size_t len = (size_t)mssh_lua_check_range(L, 1, 0, MOST_RANDOM);
    luaL_Buffer out;
    char *room = luaL_buffinitsize(L, &out, len);
    int status = mssh_rand_bytes((uint8_t *)room, len);

    if (status != 0)
        return mssh_lua_push_failure(L, status, NULL);
    luaL_pushresultsize(&out, len);
    return 1;
}

static int util_hash(lua_State *L)
{
    mssh_hash_id id = (mssh_hash_id)luaL_checkoption(L, 1, NULL, hash_names);
    mssh_slice data = mssh_lua_check_slice(L, 2);
    uint8_t digest[MSSH_HASH_MAX];
    int status = mssh_hash(id, &data, 1, digest);

    if (status != 0)
        return mssh_lua_push_failure(L, status, NULL);
    lua_pushlstring(L, (const char *)digest, mssh_hash_len(id));
    return 1;
}

static int util_hmac(lua_State *L)
{
    mssh_hash_id id = (mssh_hash_id)luaL_checkoption(L, 1, NULL, hash_names);
    mssh_slice key = mssh_lua_check_slice(L, 2);
    mssh_slice data = mssh_lua_check_slice(L, 3);
    uint8_t digest[MSSH_HASH_MAX];
    mssh_hmac *hmac = mssh_hmac_new(id, key);
    int status = hmac != NULL ? mssh_hmac_compute(hmac, &data, 1, digest) : MSSH_ERR_UNSUPPORTED;

    mssh_hmac_free(hmac);
    if (status != 0)
        return mssh_lua_push_failure(L, status, NULL);
    lua_pushlstring(L, (const char *)digest, mssh_hash_len(id));
    return 1;
}

static int util_equal(lua_State *L)
{
    mssh_slice a = mssh_lua_check_slice(L, 1);
    mssh_slice b = mssh_lua_check_slice(L, 2);

    lua_pushboolean(L, a.len == b.len && mssh_equal_ct(a.data, b.data, a.len));
    return 1;
}

static int util_base64_encode(lua_State *L)
{
    mssh_slice bytes = mssh_lua_check_slice(L, 1);
    mssh_lua_box *box = mssh_lua_box_new(L, MOST_BASE64);

    mssh_base64_encode(bytes, &box->buf);
    if (box->buf.error != 0)
        return mssh_lua_push_failure(L, box->buf.error, NULL);
    mssh_lua_push_slice(L, mssh_buf_slice(&box->buf));
    mssh_lua_box_release(box);
    return 1;
}

static int util_base64_decode(lua_State *L)
{
    mssh_slice text = mssh_lua_check_slice(L, 1);
    mssh_lua_box *box = mssh_lua_box_new(L, MOST_BASE64);
    int status = mssh_base64_decode(text, &box->buf);

    if (status == 0)
        status = box->buf.error;
    if (status == MSSH_ERR_KEY_FORMAT)
        lua_pushnil(L);
    else if (status != 0)
        return mssh_lua_push_failure(L, status, NULL);
    else
        mssh_lua_push_slice(L, mssh_buf_slice(&box->buf));
    mssh_lua_box_release(box);
    return 1;
}

static int util_escape(lua_State *L)
{
    mssh_slice bytes = mssh_lua_check_slice(L, 1);
    size_t max = (size_t)mssh_lua_opt_range(L, 2, 256, 0, MOST_ESCAPED);
    luaL_Buffer out;
    char *room = luaL_buffinitsize(L, &out, max + 1);

    (void)mssh_escape(room, max + 1, bytes.data, bytes.len);
    luaL_pushresultsize(&out, strlen(room));
    return 1;
}

static const luaL_Reg functions[] = {
    {"now", util_now},
    {"random", util_random},
    {"hash", util_hash},
    {"hmac", util_hmac},
    {"equal", util_equal},
    {"base64_encode", util_base64_encode},
    {"base64_decode", util_base64_decode},
    {"escape", util_escape},
    {NULL, NULL},
};

void mssh_lua_open_util(lua_State *L)
{
    luaL_setfuncs(L, functions, 0);
    lua_pushinteger(L, EAGAIN);
    lua_setfield(L, -2, "EAGAIN");
    lua_pushinteger(L, EINTR);
    lua_setfield(L, -2, "EINTR");
}
