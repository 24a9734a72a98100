/*
 * Blowfish's state and where it starts from. Only bcrypt_pbkdf uses it; OpenSSL has the cipher in a provider
 * that need not be there, and not with bcrypt's key schedule.
 */
#ifndef MSSH_CRYPTO_BLOWFISH_H
#define MSSH_CRYPTO_BLOWFISH_H

#include <stdint.h>

typedef struct mssh_blowfish {
    uint32_t subkeys[18];
    uint32_t boxes[4][256];
} mssh_blowfish;

/* The state before any key. */
extern const mssh_blowfish mssh_blowfish_pi;

#endif
