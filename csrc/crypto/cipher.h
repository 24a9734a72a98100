/*
 * AES in the modes that SSH uses. A context is set up once per key and works in place on whole packets.
 */
#ifndef MSSH_CRYPTO_CIPHER_H
#define MSSH_CRYPTO_CIPHER_H

#include "base/slice.h"

typedef enum mssh_cipher_id {
    MSSH_CIPHER_AES128_CTR,
    MSSH_CIPHER_AES192_CTR,
    MSSH_CIPHER_AES256_CTR,
    MSSH_CIPHER_AES128_CBC,
    MSSH_CIPHER_AES192_CBC,
    MSSH_CIPHER_AES256_CBC,
    MSSH_CIPHER_3DES_CBC,
    MSSH_CIPHER_AES128_ECB, /* block by block, without an IV: for UMAC */
} mssh_cipher_id;

/* Longest key and IV, in bytes. */
#define MSSH_CIPHER_KEY_MAX 32
#define MSSH_CIPHER_IV_MAX  16

typedef struct mssh_cipher mssh_cipher;

/* Key, IV and block length in bytes. */
size_t mssh_cipher_key_len(mssh_cipher_id id);
size_t mssh_cipher_iv_len(mssh_cipher_id id);
size_t mssh_cipher_block_len(mssh_cipher_id id);

/* Whether this OpenSSL has it: CBC and 3DES may be missing. */
bool mssh_cipher_is_available(mssh_cipher_id id);

/* A context for one direction; the mode's state (counter, chain) runs on from call to call, no padding. key
 * and iv have the lengths above. NULL when OpenSSL cannot. */
mssh_cipher *mssh_cipher_new(mssh_cipher_id id, bool encrypt, const uint8_t *key, const uint8_t *iv);

/* Wipes and frees it; NULL is fine. */
void mssh_cipher_free(mssh_cipher *cipher);

/* En- or decrypts `len` bytes (a multiple of the block length) in place. 0 or an mssh_err. */
int mssh_cipher_apply(mssh_cipher *cipher, uint8_t *bytes, size_t len);

/* AES-GCM as RFC 5647 uses it: a fixed part of 4 bytes and an invocation counter of 8, big-endian, that grows
 * by one per packet. */
typedef struct mssh_gcm mssh_gcm;

enum { MSSH_GCM_TAG_LEN = 16, MSSH_GCM_IV_LEN = 12 };

/* A context for one direction with a key of 16 or 32 bytes and the initial IV of 12. NULL when OpenSSL
 * cannot. */
mssh_gcm *mssh_gcm_new(bool encrypt, mssh_slice key, const uint8_t *iv);

/* Wipes and frees it; NULL is fine. */
void mssh_gcm_free(mssh_gcm *gcm);

/* Encrypts text[len] in place, binding aad[4] (NULL: nothing), and writes the tag; moves on to the next IV. 0
 * or an mssh_err.
 */
int mssh_gcm_seal(mssh_gcm *gcm, const uint8_t *aad, uint8_t *text, size_t len, uint8_t *tag);

/* Decrypts text[len] in place and checks the tag; moves on to the next IV only on success. MSSH_ERR_MAC when
 * the tag does not match: text is then as it was or decrypted, and must not be used, unless open_unverified
 * follows on a copy of the original. */
int mssh_gcm_open(mssh_gcm *gcm, const uint8_t *aad, uint8_t *text, size_t len, const uint8_t *tag);

/* Decrypts text[len] in place under the current IV without checking a tag, and moves on to the next IV. 0 or
 * an mssh_err. */
int mssh_gcm_open_unverified(mssh_gcm *gcm, uint8_t *text, size_t len);

/* Invocations left before the counter would repeat; the packet layer rekeys long before. */
uint64_t mssh_gcm_invocations_left(const mssh_gcm *gcm);

#endif
