/*
 * SHA-3 and SHAKE (FIPS 202), from OpenSSL, for what hashes many small things in a row.
 */
#ifndef MSSH_CRYPTO_KECCAK_H
#define MSSH_CRYPTO_KECCAK_H

#include "base/slice.h"

typedef enum mssh_keccak_id {
    MSSH_SHA3_256, /* 32 bytes */
    MSSH_SHA3_512, /* 64 bytes */
    MSSH_SHAKE128, /* as many as are asked for */
    MSSH_SHAKE256,
    MSSH_N_KECCAK
} mssh_keccak_id;

typedef struct mssh_keccak mssh_keccak;

/* The functions, made ready once for many calls. NULL when OpenSSL cannot. */
mssh_keccak *mssh_keccak_new(void);

/* Wipes and frees it; NULL is fine. */
void mssh_keccak_free(mssh_keccak *keccak);

/* Hashes the concatenation of two views into out[len]; for SHA-3 `len` is the digest's. 0, or
 * MSSH_ERR_UNSUPPORTED. */
int mssh_keccak_hash(mssh_keccak *keccak, mssh_keccak_id id, const mssh_slice parts[2], uint8_t *out,
                     size_t len);

#endif
