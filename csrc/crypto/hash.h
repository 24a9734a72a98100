/*
 * Hash functions and HMAC, from OpenSSL.
 */
#ifndef MSSH_CRYPTO_HASH_H
#define MSSH_CRYPTO_HASH_H

#include "base/slice.h"

typedef enum mssh_hash_id {
    MSSH_HASH_MD5,
    MSSH_HASH_SHA1,
    MSSH_HASH_SHA256,
    MSSH_HASH_SHA384,
    MSSH_HASH_SHA512
} mssh_hash_id;

/* Longest digest, in bytes. */
#define MSSH_HASH_MAX 64

/* Digest length in bytes. */
size_t mssh_hash_len(mssh_hash_id id);

/* Its name: "MD5", "SHA1", "SHA256", "SHA384" or "SHA512". */
const char *mssh_hash_name(mssh_hash_id id);

/* Whether this OpenSSL has it: MD5 and SHA-1 may be missing. */
bool mssh_hash_is_available(mssh_hash_id id);

/* Hashes the concatenation of `n_parts` views into out[mssh_hash_len(id)]. 0, or MSSH_ERR_UNSUPPORTED /
 * MSSH_ERR_MEMORY. */
int mssh_hash(mssh_hash_id id, const mssh_slice *parts, size_t n_parts, uint8_t *out);

/* A keyed HMAC (RFC 2104), used for many messages. */
typedef struct mssh_hmac mssh_hmac;

/* Sets up HMAC with a key; NULL when OpenSSL cannot. */
mssh_hmac *mssh_hmac_new(mssh_hash_id id, mssh_slice key);

/* Wipes and frees it; NULL is fine. */
void mssh_hmac_free(mssh_hmac *hmac);

/* MAC of the concatenation of the parts into out[mssh_hash_len(id)]. 0 or an mssh_err. */
int mssh_hmac_compute(mssh_hmac *hmac, const mssh_slice *parts, size_t n_parts, uint8_t *out);

#endif
