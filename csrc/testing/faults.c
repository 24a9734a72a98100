/*
 * faults: makes calls of OpenSSL fail, one at a time. The makefile has the linker send every call of a
 * function named below (in this module, not in the core) through its wrapper here.
 *
 *   faults.arm(n, value)    the n-th wrapped call from now fails (0: none does): it is not made, and gives
 * value (0 or -1) if it gives a number, else NULL faults.calls()          wrapped calls since then
 *   faults.struck()         the name of the function that failed, or nil
 */
#include "testing/testing.h"

#include <lauxlib.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdbool.h>

static struct {
    lua_Integer calls;
    lua_Integer fail_at;
    int value;
    const char *struck;
} plan;

static bool strikes(const char *name)
{
    if (++plan.calls != plan.fail_at)
        return false;
    plan.struck = name;
    return true;
}

/* The makefile looks for lines that begin with one of these words. */
#define WRAP_NUMBER(name, parameters, arguments)                                                             \
    int __real_##name parameters;                                                                            \
    int __wrap_##name parameters;                                                                            \
    int __wrap_##name parameters                                                                             \
    {                                                                                                        \
        return strikes(#name) ? plan.value : __real_##name arguments;                                        \
    }

#define WRAP_POINTER(name, type, parameters, arguments)                                                      \
    type *__real_##name parameters;                                                                          \
    type *__wrap_##name parameters;                                                                          \
    type *__wrap_##name parameters                                                                           \
    {                                                                                                        \
        return strikes(#name) ? NULL : __real_##name arguments;                                              \
    }

/* clang-format off */
/* NOLINTBEGIN(readability-function-size): OpenSSL's parameters are not ours. */
WRAP_NUMBER(RAND_bytes, (unsigned char *out, int len), (out, len))
WRAP_NUMBER(BN_priv_rand, (BIGNUM *a, int bits, int top, int bottom), (a, bits, top, bottom))

WRAP_POINTER(EVP_MD_fetch, EVP_MD, (OSSL_LIB_CTX *lib, const char *name, const char *props), (lib, name, props))
WRAP_POINTER(EVP_MD_CTX_new, EVP_MD_CTX, (void), ())
WRAP_NUMBER(EVP_DigestInit_ex2, (EVP_MD_CTX *ctx, const EVP_MD *md, const OSSL_PARAM *params), (ctx, md, params))
WRAP_NUMBER(EVP_DigestUpdate, (EVP_MD_CTX *ctx, const void *data, size_t len), (ctx, data, len))
WRAP_NUMBER(EVP_DigestFinal_ex, (EVP_MD_CTX *ctx, unsigned char *out, unsigned *len), (ctx, out, len))
WRAP_NUMBER(EVP_DigestFinalXOF, (EVP_MD_CTX *ctx, unsigned char *out, size_t len), (ctx, out, len))
WRAP_POINTER(EVP_MAC_fetch, EVP_MAC, (OSSL_LIB_CTX *lib, const char *name, const char *props), (lib, name, props))
WRAP_POINTER(EVP_MAC_CTX_new, EVP_MAC_CTX, (EVP_MAC *mac), (mac))
WRAP_NUMBER(EVP_MAC_init, (EVP_MAC_CTX *ctx, const unsigned char *key, size_t len, const OSSL_PARAM *params), (ctx, key, len, params))
WRAP_NUMBER(EVP_MAC_update, (EVP_MAC_CTX *ctx, const unsigned char *data, size_t len), (ctx, data, len))
WRAP_NUMBER(EVP_MAC_final, (EVP_MAC_CTX *ctx, unsigned char *out, size_t *len, size_t size), (ctx, out, len, size))

WRAP_POINTER(EVP_CIPHER_fetch, EVP_CIPHER, (OSSL_LIB_CTX *lib, const char *name, const char *props), (lib, name, props))
WRAP_POINTER(EVP_CIPHER_CTX_new, EVP_CIPHER_CTX, (void), ())
WRAP_NUMBER(EVP_CipherInit_ex2, (EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, const unsigned char *key, const unsigned char *iv, int enc, const OSSL_PARAM *params), (ctx, cipher, key, iv, enc, params))
WRAP_NUMBER(EVP_CipherInit_ex, (EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, ENGINE *engine, const unsigned char *key, const unsigned char *iv, int enc), (ctx, cipher, engine, key, iv, enc))
WRAP_NUMBER(EVP_CIPHER_CTX_set_padding, (EVP_CIPHER_CTX *ctx, int padding), (ctx, padding))
WRAP_NUMBER(EVP_CipherUpdate, (EVP_CIPHER_CTX *ctx, unsigned char *out, int *len, const unsigned char *in, int in_len), (ctx, out, len, in, in_len))
WRAP_NUMBER(EVP_EncryptFinal_ex, (EVP_CIPHER_CTX *ctx, unsigned char *out, int *len), (ctx, out, len))
WRAP_NUMBER(EVP_DecryptFinal_ex, (EVP_CIPHER_CTX *ctx, unsigned char *out, int *len), (ctx, out, len))
WRAP_NUMBER(EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX *ctx, int type, int arg, void *ptr), (ctx, type, arg, ptr))

WRAP_POINTER(EVP_PKEY_CTX_new_from_name, EVP_PKEY_CTX, (OSSL_LIB_CTX *lib, const char *name, const char *props), (lib, name, props))
WRAP_POINTER(EVP_PKEY_CTX_new_from_pkey, EVP_PKEY_CTX, (OSSL_LIB_CTX *lib, EVP_PKEY *key, const char *props), (lib, key, props))
WRAP_POINTER(EVP_PKEY_new_raw_public_key_ex, EVP_PKEY, (OSSL_LIB_CTX *lib, const char *type, const char *props, const unsigned char *bytes, size_t len), (lib, type, props, bytes, len))
WRAP_POINTER(EVP_PKEY_new_raw_private_key_ex, EVP_PKEY, (OSSL_LIB_CTX *lib, const char *type, const char *props, const unsigned char *bytes, size_t len), (lib, type, props, bytes, len))
WRAP_NUMBER(EVP_PKEY_get_raw_public_key, (const EVP_PKEY *key, unsigned char *out, size_t *len), (key, out, len))
WRAP_NUMBER(EVP_PKEY_get_raw_private_key, (const EVP_PKEY *key, unsigned char *out, size_t *len), (key, out, len))
WRAP_NUMBER(EVP_PKEY_get_bn_param, (const EVP_PKEY *key, const char *name, BIGNUM **value), (key, name, value))
WRAP_NUMBER(EVP_PKEY_get_group_name, (const EVP_PKEY *key, char *name, size_t size, size_t *len), (key, name, size, len))
WRAP_NUMBER(EVP_PKEY_fromdata_init, (EVP_PKEY_CTX *ctx), (ctx))
WRAP_NUMBER(EVP_PKEY_fromdata, (EVP_PKEY_CTX *ctx, EVP_PKEY **key, int selection, OSSL_PARAM *params), (ctx, key, selection, params))
WRAP_NUMBER(EVP_PKEY_derive_init, (EVP_PKEY_CTX *ctx), (ctx))
WRAP_NUMBER(EVP_PKEY_derive_set_peer, (EVP_PKEY_CTX *ctx, EVP_PKEY *peer), (ctx, peer))
WRAP_NUMBER(EVP_PKEY_derive, (EVP_PKEY_CTX *ctx, unsigned char *out, size_t *len), (ctx, out, len))
WRAP_NUMBER(EVP_DigestSignInit_ex, (EVP_MD_CTX *ctx, EVP_PKEY_CTX **pctx, const char *md, OSSL_LIB_CTX *lib, const char *props, EVP_PKEY *key, const OSSL_PARAM *params), (ctx, pctx, md, lib, props, key, params))
WRAP_NUMBER(EVP_DigestSign, (EVP_MD_CTX *ctx, unsigned char *out, size_t *len, const unsigned char *data, size_t data_len), (ctx, out, len, data, data_len))
WRAP_NUMBER(EVP_DigestVerifyInit_ex, (EVP_MD_CTX *ctx, EVP_PKEY_CTX **pctx, const char *md, OSSL_LIB_CTX *lib, const char *props, EVP_PKEY *key, const OSSL_PARAM *params), (ctx, pctx, md, lib, props, key, params))
WRAP_NUMBER(EVP_DigestVerify, (EVP_MD_CTX *ctx, const unsigned char *signature, size_t len, const unsigned char *data, size_t data_len), (ctx, signature, len, data, data_len))

WRAP_POINTER(OSSL_PARAM_BLD_new, OSSL_PARAM_BLD, (void), ())
WRAP_NUMBER(OSSL_PARAM_BLD_push_BN, (OSSL_PARAM_BLD *builder, const char *name, const BIGNUM *value), (builder, name, value))
WRAP_NUMBER(OSSL_PARAM_BLD_push_utf8_string, (OSSL_PARAM_BLD *builder, const char *name, const char *text, size_t len), (builder, name, text, len))
WRAP_NUMBER(OSSL_PARAM_BLD_push_octet_string, (OSSL_PARAM_BLD *builder, const char *name, const void *bytes, size_t len), (builder, name, bytes, len))
WRAP_POINTER(OSSL_PARAM_BLD_to_param, OSSL_PARAM, (OSSL_PARAM_BLD *builder), (builder))

WRAP_POINTER(BN_new, BIGNUM, (void), ())
WRAP_POINTER(BN_secure_new, BIGNUM, (void), ())
WRAP_POINTER(BN_dup, BIGNUM, (const BIGNUM *a), (a))
WRAP_POINTER(BN_copy, BIGNUM, (BIGNUM *a, const BIGNUM *b), (a, b))
WRAP_POINTER(BN_bin2bn, BIGNUM, (const unsigned char *bytes, int len, BIGNUM *out), (bytes, len, out))
WRAP_NUMBER(BN_bn2binpad, (const BIGNUM *a, unsigned char *out, int len), (a, out, len))
WRAP_POINTER(BN_CTX_secure_new, BN_CTX, (void), ())
WRAP_POINTER(BN_CTX_get, BIGNUM, (BN_CTX *ctx), (ctx))
WRAP_NUMBER(BN_sub_word, (BIGNUM *a, BN_ULONG w), (a, w))
WRAP_NUMBER(BN_mul, (BIGNUM *out, const BIGNUM *a, const BIGNUM *b, BN_CTX *ctx), (out, a, b, ctx))
WRAP_NUMBER(BN_div, (BIGNUM *quotient, BIGNUM *rest, const BIGNUM *a, const BIGNUM *b, BN_CTX *ctx), (quotient, rest, a, b, ctx))
WRAP_NUMBER(BN_mod_mul, (BIGNUM *out, const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx), (out, a, b, m, ctx))
WRAP_NUMBER(BN_mod_exp, (BIGNUM *out, const BIGNUM *a, const BIGNUM *p, const BIGNUM *m, BN_CTX *ctx), (out, a, p, m, ctx))

WRAP_POINTER(EC_GROUP_new_by_curve_name, EC_GROUP, (int nid), (nid))
WRAP_POINTER(EC_POINT_new, EC_POINT, (const EC_GROUP *group), (group))
WRAP_NUMBER(EC_POINT_oct2point, (const EC_GROUP *group, EC_POINT *point, const unsigned char *bytes, size_t len, BN_CTX *ctx), (group, point, bytes, len, ctx))
WRAP_NUMBER(EC_POINT_mul, (const EC_GROUP *group, EC_POINT *out, const BIGNUM *n, const EC_POINT *q, const BIGNUM *m, BN_CTX *ctx), (group, out, n, q, m, ctx))
WRAP_POINTER(ECDSA_SIG_new, ECDSA_SIG, (void), ())
WRAP_NUMBER(ECDSA_SIG_set0, (ECDSA_SIG *sig, BIGNUM *r, BIGNUM *s), (sig, r, s))
WRAP_POINTER(d2i_ECDSA_SIG, ECDSA_SIG, (ECDSA_SIG **sig, const unsigned char **at, long len), (sig, at, len))
WRAP_NUMBER(i2d_ECDSA_SIG, (const ECDSA_SIG *sig, unsigned char **at), (sig, at))

WRAP_POINTER(BIO_new_mem_buf, BIO, (const void *bytes, int len), (bytes, len))
WRAP_NUMBER(PEM_read_bio, (BIO *bio, char **name, char **header, unsigned char **data, long *len), (bio, name, header, data, len))
WRAP_NUMBER(PEM_get_EVP_CIPHER_INFO, (char *header, EVP_CIPHER_INFO *info), (header, info))
WRAP_NUMBER(PEM_do_header, (EVP_CIPHER_INFO *info, unsigned char *data, long *len, pem_password_cb *callback, void *u), (info, data, len, callback, u))
WRAP_POINTER(d2i_PrivateKey, EVP_PKEY, (int type, EVP_PKEY **key, const unsigned char **at, long len), (type, key, at, len))
WRAP_POINTER(d2i_PKCS8_PRIV_KEY_INFO, PKCS8_PRIV_KEY_INFO, (PKCS8_PRIV_KEY_INFO **info, const unsigned char **at, long len), (info, at, len))
WRAP_POINTER(EVP_PKCS82PKEY, EVP_PKEY, (const PKCS8_PRIV_KEY_INFO *info), (info))
WRAP_POINTER(d2i_X509_SIG, X509_SIG, (X509_SIG **sig, const unsigned char **at, long len), (sig, at, len))
WRAP_POINTER(PKCS8_decrypt, PKCS8_PRIV_KEY_INFO, (const X509_SIG *sig, const char *pass, int len), (sig, pass, len))
WRAP_POINTER(CRYPTO_zalloc, void, (size_t len, const char *file, int line), (len, file, line))
/* NOLINTEND(readability-function-size) */
/* clang-format on */

/* Two are written out: one gives a size, the other takes what its type needs. */
#define WRAP_SPECIAL(name)
WRAP_SPECIAL(EVP_PKEY_get1_encoded_public_key)
WRAP_SPECIAL(EVP_PKEY_Q_keygen)

size_t __real_EVP_PKEY_get1_encoded_public_key(EVP_PKEY *key, unsigned char **out);
size_t __wrap_EVP_PKEY_get1_encoded_public_key(EVP_PKEY *key, unsigned char **out);

size_t __wrap_EVP_PKEY_get1_encoded_public_key(EVP_PKEY *key, unsigned char **out)
{
    return strikes("EVP_PKEY_get1_encoded_public_key") ? 0
                                                       : __real_EVP_PKEY_get1_encoded_public_key(key, out);
}

EVP_PKEY *__real_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *lib, const char *props, const char *type, ...);
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *lib, const char *props, const char *type, ...);

EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *lib, const char *props, const char *type, ...)
{
    EVP_PKEY *key = NULL;
    va_list args;

    va_start(args, type);
    if (strikes("EVP_PKEY_Q_keygen"))
        key = NULL;
    else if (type[0] == 'R')
        key = __real_EVP_PKEY_Q_keygen(lib, props, type, va_arg(args, size_t));
    else if (type[0] == 'E' && type[1] == 'C')
        key = __real_EVP_PKEY_Q_keygen(lib, props, type, va_arg(args, char *));
    else
        key = __real_EVP_PKEY_Q_keygen(lib, props, type);
    va_end(args);
    return key;
}

static int arm(lua_State *L)
{
    plan.calls = 0;
    plan.fail_at = luaL_checkinteger(L, 1);
    plan.value = (int)luaL_optinteger(L, 2, 0);
    plan.struck = NULL;
    return 0;
}

static int calls(lua_State *L)
{
    lua_pushinteger(L, plan.calls);
    return 1;
}

static int struck(lua_State *L)
{
    lua_pushstring(L, plan.struck);
    return 1;
}

static const luaL_Reg functions[] = {
    {"arm", arm},
    {"calls", calls},
    {"struck", struck},
    {NULL, NULL},
};

int mssh_testing_open_faults(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
