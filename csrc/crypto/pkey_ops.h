/*
 * Inside of the key pairs: a row per kind, with what differs.
 */
#ifndef MSSH_CRYPTO_PKEY_OPS_H
#define MSSH_CRYPTO_PKEY_OPS_H

#include "crypto/pkey.h"

#include <openssl/bn.h>
#include <openssl/param_build.h>
#include <openssl/types.h>

typedef struct mssh_pkey_row {
    const char *type;  /* OpenSSL's: "ED25519", "EC", "RSA" */
    const char *group; /* OpenSSL's name of the curve, else NULL */
    unsigned bits;     /* 0 for RSA and DSA */
    uint8_t n_public;
    uint8_t n_parts;
    /* Makes *evp from checked parts. 0, MSSH_ERR_KEY_FORMAT, or an mssh_err. */
    int (*build)(const struct mssh_pkey_row *row, const mssh_slice *parts, bool with_private, EVP_PKEY **evp);
    /* Appends one part to *bytes. 0 or an mssh_err. */
    int (*part)(const struct mssh_pkey_row *row, const EVP_PKEY *evp, size_t i, mssh_buf *bytes);
} mssh_pkey_row;

struct mssh_pkey {
    const mssh_pkey_row *row;
    EVP_PKEY *evp;
    mssh_pkey_kind kind;
    bool is_private;
};

extern const mssh_pkey_row mssh_pkey_rows[];

/* RSA's numbers to a key. */
int mssh_pkey_rsa_build(const mssh_pkey_row *row, const mssh_slice *parts, bool with_private, EVP_PKEY **evp);
/* A key to RSA's numbers. */
int mssh_pkey_rsa_part(const mssh_pkey_row *row, const EVP_PKEY *evp, size_t i, mssh_buf *bytes);
/* DSA's numbers to a key. */
int mssh_pkey_dsa_build(const mssh_pkey_row *row, const mssh_slice *parts, bool with_private, EVP_PKEY **evp);
/* A key to DSA's numbers. */
int mssh_pkey_dsa_part(const mssh_pkey_row *row, const EVP_PKEY *evp, size_t i, mssh_buf *bytes);
/* Point and scalar to a key. */
int mssh_pkey_ec_build(const mssh_pkey_row *row, const mssh_slice *parts, bool with_private, EVP_PKEY **evp);
/* A key to point and scalar. */
int mssh_pkey_ec_part(const mssh_pkey_row *row, const EVP_PKEY *evp, size_t i, mssh_buf *bytes);

/* Wraps an EVP key (adopted, also on failure). */
int mssh_pkey_wrap(mssh_pkey_kind kind, EVP_PKEY *evp, bool is_private, mssh_pkey **key);

/* A copy of an EVP key of whatever origin, by way of its parts: so it passes the same checks as any other. */
int mssh_pkey_import(mssh_mem *mem, const EVP_PKEY *evp, mssh_pkey **key);

/* Makes an EVP key of `type` from parameters. NULL when OpenSSL refuses them. */
EVP_PKEY *mssh_pkey_from_params(const char *type, OSSL_PARAM_BLD *builder, bool with_private);

/* The same from `n` numbers and their names; none of them is taken over. */
EVP_PKEY *mssh_pkey_from_numbers(const char *type, const char *const *names, BIGNUM *const *numbers, size_t n,
                                 bool with_private);

/* Appends a number parameter, padded to `len` bytes (0: as long as it is). */
int mssh_pkey_append_bn(const EVP_PKEY *evp, const char *param, size_t len, mssh_buf *bytes);

/* ECDSA's and DSA's DER (RFC 3279) to r and s, and back. `der` has room for MSSH_PKEY_DER_MAX bytes. */
enum { MSSH_PKEY_DER_MAX = 160 };
int mssh_pkey_ecdsa_from_der(mssh_slice der, uint8_t *out, size_t len);
int mssh_pkey_ecdsa_to_der(mssh_slice signature, uint8_t *der, size_t *der_len);

#endif
