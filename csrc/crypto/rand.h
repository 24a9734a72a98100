/*
 * Randomness (OpenSSL's generators, which reseed after fork).
 */
#ifndef MSSH_CRYPTO_RAND_H
#define MSSH_CRYPTO_RAND_H

#include <stddef.h>
#include <stdint.h>

/* Fills out[len] with random bytes. 0, or MSSH_ERR_UNSUPPORTED when the generator fails: then nothing may be
 * sent. */
int mssh_rand_bytes(uint8_t *out, size_t len);

#endif
