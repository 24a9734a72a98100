/*
 * Key derivation (RFC 4253 7.2).
 */
#ifndef MSSH_TRANSPORT_KDF_H
#define MSSH_TRANSPORT_KDF_H

#include "crypto/hash.h"

/* What keys are derived from. */
typedef struct mssh_kdf_input {
    mssh_hash_id hash;
    mssh_slice secret;     /* K as it enters the hash, its length field included */
    mssh_slice exchange;   /* H */
    mssh_slice session_id; /* H of the first key exchange */
} mssh_kdf_input;

/* Derives `len` bytes for a letter 'A' to 'F' into out: HASH(K || H || letter || session_id), and as much of
 * its extension as is needed. 0 or an mssh_err. */
int mssh_kdf(const mssh_kdf_input *input, char letter, uint8_t *out, size_t len);

#endif
