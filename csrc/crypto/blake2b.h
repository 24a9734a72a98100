/*
 * BLAKE2b (RFC 7693) without a key, with digests of any length: OpenSSL 3.0 has that of 64 bytes alone.
 */
#ifndef MSSH_CRYPTO_BLAKE2B_H
#define MSSH_CRYPTO_BLAKE2B_H

#include "base/slice.h"

/* Longest digest, in bytes. */
enum { MSSH_BLAKE2B_MAX = 64 };

/* Hashes the concatenation of the parts into out[len], len from 1 to MSSH_BLAKE2B_MAX: the length is part of
 * what is hashed. */
void mssh_blake2b(const mssh_slice *parts, size_t n_parts, uint8_t *out, size_t len);

#endif
