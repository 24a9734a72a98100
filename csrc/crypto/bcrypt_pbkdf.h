/*
 * bcrypt_pbkdf, OpenBSD's key derivation for encrypted private key files.
 */
#ifndef MSSH_CRYPTO_BCRYPT_PBKDF_H
#define MSSH_CRYPTO_BCRYPT_PBKDF_H

#include "base/slice.h"

/* Longest key that can be derived, in bytes. */
#define MSSH_BCRYPT_KEY_MAX 1024

/* Derives out[len] from passphrase and salt, neither of them empty. The time is in proportion to rounds
 * (>= 1) times len. 0; MSSH_ERR_LIMIT for an empty or too large argument; or an mssh_err. */
int mssh_bcrypt_pbkdf(mssh_slice passphrase, mssh_slice salt, uint32_t rounds, uint8_t *out, size_t len);

#endif
