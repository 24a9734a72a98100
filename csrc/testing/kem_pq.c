/*
 * The post-quantum KEMs alone. What fails returns nil and the error's code.
 *
 *   crypto.pq(name, seed, heap) -> object, public value    name is mlkem, mlkem_openssl or sntrup; mlkem
 * takes a seed object:decapsulate(ciphertext) -> secret               object:close()
 *   crypto.pq_encapsulate(name, public value, message) -> ciphertext, secret    mlkem takes a message
 *   crypto.mlkem_accumulated(n) -> the hash over n rounds of all that ML-KEM-768 makes of one stream
 *   crypto.mlkem_is_own() -> whether the hybrid uses ours
 */
#include "crypto/kem_pq.h"
#include "base/error.h"
#include "testing/heap.h"
#include "testing/util.h"

#include <openssl/evp.h>

#define PQ "moonssh_testing.pq"

typedef struct pq_box {
    const mssh_pq_ops *ops;
    mssh_mem *mem;
    void *key;
} pq_box;

static const mssh_pq_ops *check_ops(lua_State *L, int index)
{
    static const char *const names[] = {"mlkem", "mlkem_openssl", "sntrup", NULL};
    static const mssh_pq_ops *const rows[] = {&mssh_mlkem768_own_ops, &mssh_mlkem768_evp_ops,
                                              &mssh_sntrup761_ops};
    return rows[luaL_checkoption(L, index, NULL, names)];
}

static const uint8_t *check_bytes(lua_State *L, int index, size_t len)
{
    mssh_slice bytes = mssh_testing_slice(L, index);

    luaL_argcheck(L, bytes.len == len, index, "wrong length");
    return bytes.data;
}

static int new_pq(lua_State *L)
{
    uint8_t public_value[MSSH_MLKEM_PUBLIC_LEN];
    const mssh_pq_ops *ops = check_ops(L, 1);
    pq_box *box;
    int rc;

    lua_settop(L, 3);
    box = lua_newuserdatauv(L, sizeof *box, 1);
    *box = (pq_box){ops, NULL, NULL};
    box->mem = mssh_testing_heap_use(L, 3);
    luaL_setmetatable(L, PQ);
    if (lua_isnil(L, 2))
        rc = ops->keypair(box->mem, &box->key, public_value);
    else
        rc = mssh_mlkem768_keypair_from(box->mem, check_bytes(L, 2, MSSH_MLKEM_SEED_LEN), &box->key,
                                        public_value);
    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushlstring(L, (const char *)public_value, ops->public_len);
    return 2;
}

static int pq_decapsulate(lua_State *L)
{
    pq_box *box = luaL_checkudata(L, 1, PQ);
    uint8_t secret[MSSH_PQ_SECRET_LEN];
    int rc;

    luaL_argcheck(L, box->key != NULL, 1, "closed");
    rc = box->ops->decapsulate(box->mem, box->key, check_bytes(L, 2, box->ops->ciphertext_len), secret);
    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushlstring(L, (const char *)secret, sizeof secret);
    return 1;
}

static int pq_encapsulate(lua_State *L)
{
    uint8_t ciphertext[MSSH_MLKEM_CIPHERTEXT_LEN];
    uint8_t secret[MSSH_PQ_SECRET_LEN];
    const mssh_pq_ops *ops = check_ops(L, 1);
    const uint8_t *public_value = check_bytes(L, 2, ops->public_len);
    mssh_mem mem;
    int rc;

    mssh_mem_init(&mem, NULL, NULL);
    if (lua_isnoneornil(L, 3))
        rc = ops->encapsulate(&mem, public_value, ciphertext, secret);
    else
        rc = mssh_mlkem768_encapsulate_from(&mem, public_value, check_bytes(L, 3, 32), ciphertext, secret);
    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushlstring(L, (const char *)ciphertext, ops->ciphertext_len);
    lua_pushlstring(L, (const char *)secret, sizeof secret);
    return 2;
}

static int mlkem_is_own(lua_State *L)
{
    lua_pushboolean(L, mssh_mlkem768_ops() == &mssh_mlkem768_own_ops);
    return 1;
}

enum { ROUND_LEN = MSSH_MLKEM_SEED_LEN + 32 + MSSH_MLKEM_CIPHERTEXT_LEN };

/* One round: `stream` gives the seed, the message and a ciphertext that nobody made. */
static int accumulate(mssh_mem *mem, const uint8_t *stream, EVP_MD_CTX *sum)
{
    uint8_t public_value[MSSH_MLKEM_PUBLIC_LEN];
    uint8_t ciphertext[MSSH_MLKEM_CIPHERTEXT_LEN];
    uint8_t secrets[3][MSSH_PQ_SECRET_LEN];
    void *key = NULL;
    int rc = mssh_mlkem768_keypair_from(mem, stream, &key, public_value);

    if (rc != 0)
        return rc;
    rc = mssh_mlkem768_encapsulate_from(mem, public_value, stream + MSSH_MLKEM_SEED_LEN, ciphertext,
                                        secrets[0]);
    if (rc == 0)
        rc = mssh_mlkem768_own_ops.decapsulate(mem, key, ciphertext, secrets[1]);
    if (rc == 0)
        rc = mssh_mlkem768_own_ops.decapsulate(mem, key, stream + MSSH_MLKEM_SEED_LEN + 32, secrets[2]);
    if (rc == 0 && (memcmp(secrets[0], secrets[1], MSSH_PQ_SECRET_LEN) != 0 ||
                    EVP_DigestUpdate(sum, public_value, sizeof public_value) != 1 ||
                    EVP_DigestUpdate(sum, ciphertext, sizeof ciphertext) != 1 ||
                    EVP_DigestUpdate(sum, secrets[0], MSSH_PQ_SECRET_LEN) != 1 ||
                    EVP_DigestUpdate(sum, secrets[2], MSSH_PQ_SECRET_LEN) != 1))
        rc = MSSH_ERR_PROTOCOL;
    mssh_mlkem768_own_ops.free(mem, key);
    return rc;
}

static int mlkem_accumulated(lua_State *L)
{
    size_t n = (size_t)luaL_checkinteger(L, 1);
    uint8_t *stream = lua_newuserdatauv(L, n * ROUND_LEN, 0);
    EVP_MD_CTX *source = EVP_MD_CTX_new();
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    uint8_t result[32];
    mssh_mem mem;
    int rc = MSSH_ERR_UNSUPPORTED;

    mssh_mem_init(&mem, NULL, NULL);
    if (source != NULL && sum != NULL && EVP_DigestInit_ex(source, EVP_shake128(), NULL) == 1 &&
        EVP_DigestFinalXOF(source, stream, n * ROUND_LEN) == 1 &&
        EVP_DigestInit_ex(sum, EVP_shake128(), NULL) == 1)
        rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = accumulate(&mem, stream + i * ROUND_LEN, sum);
    if (rc == 0 && EVP_DigestFinalXOF(sum, result, sizeof result) != 1)
        rc = MSSH_ERR_UNSUPPORTED;
    EVP_MD_CTX_free(source);
    EVP_MD_CTX_free(sum);
    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushlstring(L, (const char *)result, sizeof result);
    return 1;
}

static int pq_gc(lua_State *L)
{
    pq_box *box = luaL_checkudata(L, 1, PQ);

    if (box->key != NULL)
        box->ops->free(box->mem, box->key);
    box->key = NULL;
    return 0;
}

static const luaL_Reg methods[] = {{"decapsulate", pq_decapsulate}, {"close", pq_gc}, {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"pq", new_pq},
    {"pq_encapsulate", pq_encapsulate},
    {"mlkem_accumulated", mlkem_accumulated},
    {"mlkem_is_own", mlkem_is_own},
    {NULL, NULL},
};

void mssh_testing_add_kem_pq(lua_State *L)
{
    mssh_testing_new_class(L, PQ, methods, pq_gc);
    luaL_setfuncs(L, functions, 0);
}
