/*
 * crypto: the primitives. What fails returns nil and the error's code.
 *
 *   crypto.hash(name, part, …) -> digest            crypto.hmac(name, key, part, …) -> mac
 *   crypto.new_hmac(name, key) -> object with compute(part, …) -> mac
 *   crypto.random(n) -> bytes                       crypto.equal(a, b) -> boolean
 *   crypto.bcrypt_pbkdf(passphrase, salt, rounds, len) -> bytes
 *
 *   crypto.cipher("aes128-ctr" …, encrypt, key, iv) -> object with apply(text) -> text
 *   crypto.cipher_sizes(name) -> key, iv, block length
 *   crypto.gcm(encrypt, key, iv) -> object with
 *      seal(aad, text) -> text, tag      open(aad, text, tag) -> text      open_unverified(text) -> text
 *      left() -> invocations left (as an unsigned 64-bit integer)
 *   crypto.chachapoly(key) -> object; a packet is its length field (4 bytes), its text, and its tag (16)
 *      length(seq, bytes) -> number      seal(seq, length and text) -> packet
 *      open(seq, packet) -> text         open_unverified(seq, packet) -> text   open_file(text and tag) ->
 * text
 *
 *   The key exchanges are in kem.c.
 */
#include "crypto/bcrypt_pbkdf.h"
#include "crypto/chachapoly.h"
#include "crypto/cipher.h"
#include "crypto/equal.h"
#include "crypto/hash.h"
#include "crypto/rand.h"
#include "testing/testing.h"
#include "testing/util.h"

#define HMAC       "moonssh_testing.hmac"
#define CIPHER     "moonssh_testing.cipher"
#define GCM        "moonssh_testing.gcm"
#define CHACHAPOLY "moonssh_testing.chachapoly"

enum { PARTS_MAX = 16 };

/* A pointer to an object of the core, which the metatable's name tells the kind of. */
static void **new_box(lua_State *L, const char *kind)
{
    void **box = lua_newuserdatauv(L, sizeof *box, 0);

    *box = NULL;
    luaL_setmetatable(L, kind);
    return box;
}

/* One result: the object that was put into the box on top of the stack, or the error when there is none. */
static int push_made(lua_State *L, void *const *box)
{
    return *box != NULL ? 1 : mssh_testing_push_error(L, MSSH_ERR_UNSUPPORTED, NULL);
}

static void *check_box(lua_State *L, const char *kind)
{
    void **box = luaL_checkudata(L, 1, kind);
    luaL_argcheck(L, *box != NULL, 1, "closed");
    return *box;
}

/* A copy of bytes, to be worked on in place; collected with the Lua state. */
static uint8_t *copy(lua_State *L, mssh_slice bytes, size_t extra)
{
    uint8_t *block = lua_newuserdatauv(L, bytes.len + extra + 1, 0);

    if (bytes.len > 0)
        memcpy(block, bytes.data, bytes.len);
    return block;
}

static int push_bytes(lua_State *L, int code, const uint8_t *bytes, size_t len)
{
    if (code != 0)
        return mssh_testing_push_error(L, code, NULL);
    lua_pushlstring(L, (const char *)bytes, len);
    return 1;
}

static mssh_hash_id check_hash(lua_State *L, int index)
{
    static const char *const names[] = {"md5", "sha1", "sha256", "sha384", "sha512", NULL};
    static const mssh_hash_id ids[] = {MSSH_HASH_MD5, MSSH_HASH_SHA1, MSSH_HASH_SHA256, MSSH_HASH_SHA384,
                                       MSSH_HASH_SHA512};
    return ids[luaL_checkoption(L, index, NULL, names)];
}

static size_t check_parts(lua_State *L, int first, mssh_slice *parts)
{
    size_t n = 0;

    for (int i = first; i <= lua_gettop(L); i++) {
        luaL_argcheck(L, n < PARTS_MAX, i, "too many parts");
        parts[n++] = mssh_testing_slice(L, i);
    }
    return n;
}

static int hash(lua_State *L)
{
    mssh_hash_id id = check_hash(L, 1);
    mssh_slice parts[PARTS_MAX];
    uint8_t out[MSSH_HASH_MAX];
    size_t n = check_parts(L, 2, parts);

    return push_bytes(L, mssh_hash(id, parts, n, out), out, mssh_hash_len(id));
}

typedef struct hmac_box {
    mssh_hmac *hmac;
    mssh_hash_id id;
} hmac_box;

static int new_hmac(lua_State *L)
{
    mssh_hash_id id = check_hash(L, 1);
    hmac_box *box = lua_newuserdatauv(L, sizeof *box, 0);

    *box = (hmac_box){NULL, id};
    luaL_setmetatable(L, HMAC);
    box->hmac = mssh_hmac_new(id, mssh_testing_slice(L, 2));
    return box->hmac != NULL ? 1 : mssh_testing_push_error(L, MSSH_ERR_UNSUPPORTED, NULL);
}

static int hmac_compute(lua_State *L)
{
    hmac_box *box = luaL_checkudata(L, 1, HMAC);
    mssh_slice parts[PARTS_MAX];
    uint8_t out[MSSH_HASH_MAX];
    size_t n = check_parts(L, 2, parts);

    return push_bytes(L, mssh_hmac_compute(box->hmac, parts, n, out), out, mssh_hash_len(box->id));
}

static int hmac_gc(lua_State *L)
{
    hmac_box *box = luaL_checkudata(L, 1, HMAC);

    mssh_hmac_free(box->hmac);
    box->hmac = NULL;
    return 0;
}

static int hmac(lua_State *L)
{
    mssh_hash_id id = check_hash(L, 1);
    mssh_slice parts[PARTS_MAX];
    uint8_t out[MSSH_HASH_MAX];
    size_t n = check_parts(L, 3, parts);
    mssh_hmac *made = mssh_hmac_new(id, mssh_testing_slice(L, 2));
    int rc = made == NULL ? MSSH_ERR_UNSUPPORTED : mssh_hmac_compute(made, parts, n, out);

    mssh_hmac_free(made);
    return push_bytes(L, rc, out, mssh_hash_len(id));
}

static int random_bytes(lua_State *L)
{
    size_t len = (size_t)luaL_checkinteger(L, 1);
    uint8_t *out = lua_newuserdatauv(L, len + 1, 0);

    return push_bytes(L, mssh_rand_bytes(out, len), out, len);
}

static int equal(lua_State *L)
{
    mssh_slice a = mssh_testing_slice(L, 1);
    mssh_slice b = mssh_testing_slice(L, 2);

    lua_pushboolean(L, a.len == b.len && mssh_equal_ct(a.data, b.data, a.len));
    return 1;
}

static int bcrypt_pbkdf(lua_State *L)
{
    mssh_slice passphrase = mssh_testing_slice(L, 1);
    mssh_slice salt = mssh_testing_slice(L, 2);
    uint32_t rounds = (uint32_t)luaL_checkinteger(L, 3);
    size_t len = (size_t)luaL_checkinteger(L, 4);
    uint8_t *out = lua_newuserdatauv(L, len + 1, 0);

    return push_bytes(L, mssh_bcrypt_pbkdf(passphrase, salt, rounds, out, len), out, len);
}

static mssh_cipher_id check_cipher(lua_State *L)
{
    static const char *const names[] = {"aes128-ctr", "aes192-ctr", "aes256-ctr", "aes128-cbc",
                                        "aes192-cbc", "aes256-cbc", "3des-cbc",   NULL};
    static const mssh_cipher_id ids[] = {
        MSSH_CIPHER_AES128_CTR, MSSH_CIPHER_AES192_CTR, MSSH_CIPHER_AES256_CTR, MSSH_CIPHER_AES128_CBC,
        MSSH_CIPHER_AES192_CBC, MSSH_CIPHER_AES256_CBC, MSSH_CIPHER_3DES_CBC};
    return ids[luaL_checkoption(L, 1, NULL, names)];
}

static int new_cipher(lua_State *L)
{
    mssh_cipher_id id = check_cipher(L);
    bool encrypt = lua_toboolean(L, 2);
    mssh_slice key = mssh_testing_slice(L, 3);
    mssh_slice iv = mssh_testing_slice(L, 4);
    void **box = new_box(L, CIPHER);

    luaL_argcheck(L, key.len == mssh_cipher_key_len(id), 3, "key length");
    luaL_argcheck(L, iv.len == mssh_cipher_iv_len(id), 4, "IV length");
    *box = mssh_cipher_new(id, encrypt, key.data, iv.data);
    return push_made(L, box);
}

static int cipher_sizes(lua_State *L)
{
    mssh_cipher_id id = check_cipher(L);

    lua_pushinteger(L, (lua_Integer)mssh_cipher_key_len(id));
    lua_pushinteger(L, (lua_Integer)mssh_cipher_iv_len(id));
    lua_pushinteger(L, (lua_Integer)mssh_cipher_block_len(id));
    return 3;
}

static int cipher_apply(lua_State *L)
{
    mssh_cipher *cipher = check_box(L, CIPHER);
    mssh_slice text = mssh_testing_slice(L, 2);
    uint8_t *bytes = copy(L, text, 0);

    return push_bytes(L, mssh_cipher_apply(cipher, bytes, text.len), bytes, text.len);
}

static int cipher_gc(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, CIPHER);

    mssh_cipher_free(*box);
    *box = NULL;
    return 0;
}

static int new_gcm(lua_State *L)
{
    bool encrypt = lua_toboolean(L, 1);
    mssh_slice key = mssh_testing_slice(L, 2);
    mssh_slice iv = mssh_testing_slice(L, 3);
    void **box = new_box(L, GCM);

    luaL_argcheck(L, iv.len == MSSH_GCM_IV_LEN, 3, "IV length");
    *box = mssh_gcm_new(encrypt, key, iv.data);
    return push_made(L, box);
}

static const uint8_t *check_aad(lua_State *L)
{
    mssh_slice aad = mssh_testing_opt_slice(L, 2);
    luaL_argcheck(L, aad.data == NULL || aad.len == 4, 2, "4 bytes expected");
    return aad.data;
}

static int gcm_seal(lua_State *L)
{
    mssh_gcm *gcm = check_box(L, GCM);
    const uint8_t *aad = check_aad(L);
    mssh_slice text = mssh_testing_slice(L, 3);
    uint8_t tag[MSSH_GCM_TAG_LEN];
    uint8_t *bytes = copy(L, text, 0);
    int rc = mssh_gcm_seal(gcm, aad, bytes, text.len, tag);

    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushlstring(L, (const char *)bytes, text.len);
    lua_pushlstring(L, (const char *)tag, sizeof tag);
    return 2;
}

static int gcm_open(lua_State *L)
{
    mssh_gcm *gcm = check_box(L, GCM);
    const uint8_t *aad = check_aad(L);
    mssh_slice text = mssh_testing_slice(L, 3);
    mssh_slice tag = mssh_testing_slice(L, 4);
    uint8_t *bytes = copy(L, text, 0);

    luaL_argcheck(L, tag.len == MSSH_GCM_TAG_LEN, 4, "16 bytes expected");
    return push_bytes(L, mssh_gcm_open(gcm, aad, bytes, text.len, tag.data), bytes, text.len);
}

static int gcm_open_unverified(lua_State *L)
{
    mssh_gcm *gcm = check_box(L, GCM);
    mssh_slice text = mssh_testing_slice(L, 2);
    uint8_t *bytes = copy(L, text, 0);

    return push_bytes(L, mssh_gcm_open_unverified(gcm, bytes, text.len), bytes, text.len);
}

static int gcm_left(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)mssh_gcm_invocations_left(check_box(L, GCM)));
    return 1;
}

static int gcm_gc(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, GCM);

    mssh_gcm_free(*box);
    *box = NULL;
    return 0;
}

static int new_chachapoly(lua_State *L)
{
    mssh_slice key = mssh_testing_slice(L, 1);
    void **box = new_box(L, CHACHAPOLY);

    luaL_argcheck(L, key.len == MSSH_CHACHAPOLY_KEY_LEN, 1, "key length");
    *box = mssh_chachapoly_new(key.data);
    return push_made(L, box);
}

static int chachapoly_length(lua_State *L)
{
    mssh_chachapoly *ctx = check_box(L, CHACHAPOLY);
    uint32_t seq = (uint32_t)luaL_checkinteger(L, 2);
    mssh_slice bytes = mssh_testing_slice(L, 3);
    uint32_t length = 0;
    int rc;

    luaL_argcheck(L, bytes.len == 4, 3, "4 bytes expected");
    rc = mssh_chachapoly_length(ctx, seq, bytes.data, &length);
    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushinteger(L, length);
    return 1;
}

static int chachapoly_seal(lua_State *L)
{
    mssh_chachapoly *ctx = check_box(L, CHACHAPOLY);
    uint32_t seq = (uint32_t)luaL_checkinteger(L, 2);
    mssh_slice packet = mssh_testing_slice(L, 3);
    uint8_t *bytes = copy(L, packet, MSSH_CHACHAPOLY_TAG_LEN);

    luaL_argcheck(L, packet.len >= 4, 3, "too short");
    return push_bytes(L, mssh_chachapoly_seal(ctx, seq, bytes, packet.len - 4), bytes,
                      packet.len + MSSH_CHACHAPOLY_TAG_LEN);
}

static int open_with(lua_State *L, int (*open)(mssh_chachapoly *, uint32_t, uint8_t *, size_t))
{
    mssh_chachapoly *ctx = check_box(L, CHACHAPOLY);
    uint32_t seq = (uint32_t)luaL_checkinteger(L, 2);
    mssh_slice packet = mssh_testing_slice(L, 3);
    uint8_t *bytes = copy(L, packet, 0);
    size_t len = packet.len - 4 - MSSH_CHACHAPOLY_TAG_LEN;

    luaL_argcheck(L, packet.len >= 4 + MSSH_CHACHAPOLY_TAG_LEN, 3, "too short");
    return push_bytes(L, open(ctx, seq, bytes, len), bytes + 4, len);
}

static int chachapoly_open(lua_State *L)
{
    return open_with(L, mssh_chachapoly_open);
}

static int chachapoly_open_unverified(lua_State *L)
{
    return open_with(L, mssh_chachapoly_open_unverified);
}

static int chachapoly_open_file(lua_State *L)
{
    mssh_chachapoly *ctx = check_box(L, CHACHAPOLY);
    mssh_slice sealed = mssh_testing_slice(L, 2);
    uint8_t *bytes = copy(L, sealed, 0);
    size_t len = sealed.len - MSSH_CHACHAPOLY_TAG_LEN;

    luaL_argcheck(L, sealed.len >= MSSH_CHACHAPOLY_TAG_LEN, 2, "too short");
    return push_bytes(L, mssh_chachapoly_open_file(ctx, bytes, len), bytes, len);
}

static int chachapoly_gc(lua_State *L)
{
    void **box = luaL_checkudata(L, 1, CHACHAPOLY);

    mssh_chachapoly_free(*box);
    *box = NULL;
    return 0;
}

static const luaL_Reg hmac_methods[] = {
    {"compute", hmac_compute},
    {NULL, NULL},
};

static const luaL_Reg cipher_methods[] = {
    {"apply", cipher_apply},
    {NULL, NULL},
};

static const luaL_Reg gcm_methods[] = {
    {"seal", gcm_seal}, {"open", gcm_open}, {"open_unverified", gcm_open_unverified},
    {"left", gcm_left}, {NULL, NULL},
};

static const luaL_Reg chachapoly_methods[] = {
    {"length", chachapoly_length},       {"seal", chachapoly_seal},
    {"open", chachapoly_open},           {"open_unverified", chachapoly_open_unverified},
    {"open_file", chachapoly_open_file}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"hash", hash},         {"hmac", hmac},
    {"new_hmac", new_hmac}, {"random", random_bytes},
    {"equal", equal},       {"bcrypt_pbkdf", bcrypt_pbkdf},
    {"cipher", new_cipher}, {"cipher_sizes", cipher_sizes},
    {"gcm", new_gcm},       {"chachapoly", new_chachapoly},
    {NULL, NULL},
};

int mssh_testing_open_crypto(lua_State *L)
{
    mssh_testing_new_class(L, HMAC, hmac_methods, hmac_gc);
    mssh_testing_new_class(L, CIPHER, cipher_methods, cipher_gc);
    mssh_testing_new_class(L, GCM, gcm_methods, gcm_gc);
    mssh_testing_new_class(L, CHACHAPOLY, chachapoly_methods, chachapoly_gc);
    luaL_newlib(L, functions);
    mssh_testing_add_kem(L);
    mssh_testing_add_kem_pq(L);
    mssh_testing_add_derivation(L);
    mssh_testing_add_umac(L);
    return 1;
}
