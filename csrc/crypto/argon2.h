/*
 * Argon2 (RFC 9106), version 1.3: the key derivation of PuTTY's key files.
 */
#ifndef MSSH_CRYPTO_ARGON2_H
#define MSSH_CRYPTO_ARGON2_H

#include "base/mem.h"
#include "base/slice.h"

typedef enum mssh_argon2_kind { MSSH_ARGON2_D, MSSH_ARGON2_I, MSSH_ARGON2_ID } mssh_argon2_kind;

/* Most memory in KiB, most work (memory times passes) and most lanes: what stands in a file may be absurd.
 * The work is some seconds. */
enum {
    MSSH_ARGON2_MEMORY_MAX = 256 * 1024,
    MSSH_ARGON2_WORK_MAX = 4 * 1024 * 1024,
    MSSH_ARGON2_LANES_MAX = 64
};

typedef struct mssh_argon2 {
    mssh_argon2_kind kind;
    uint32_t memory; /* KiB */
    uint32_t passes;
    uint32_t lanes;
    mssh_slice salt;       /* at least 8 bytes */
    mssh_slice secret;     /* may be empty */
    mssh_slice associated; /* may be empty */
} mssh_argon2;

/* Derives out[len] (4 to 1024 bytes) from a passphrase; the lanes are computed one after the other. 0;
 * MSSH_ERR_LIMIT for settings beyond the bounds or out of range, with nothing computed; MSSH_ERR_MEMORY. */
int mssh_argon2_derive(mssh_mem *mem, const mssh_argon2 *settings, mssh_slice passphrase, uint8_t *out,
                       size_t len);

#endif
