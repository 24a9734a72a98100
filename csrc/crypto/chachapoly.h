/*
 * chacha20-poly1305@openssh.com (PROTOCOL.chacha20poly1305): two ChaCha20 keys, one for the packet length,
 * one for the payload and the Poly1305 key; the nonce is the packet sequence number.
 */
#ifndef MSSH_CRYPTO_CHACHAPOLY_H
#define MSSH_CRYPTO_CHACHAPOLY_H

#include "base/slice.h"

enum { MSSH_CHACHAPOLY_KEY_LEN = 64, MSSH_CHACHAPOLY_TAG_LEN = 16 };

typedef struct mssh_chachapoly mssh_chachapoly;

/* A context from key[64]: usable for either direction. NULL when OpenSSL cannot. */
mssh_chachapoly *mssh_chachapoly_new(const uint8_t *key);

/* Wipes and frees it; NULL is fine. */
void mssh_chachapoly_free(mssh_chachapoly *ctx);

/* Decrypts the four length bytes at in[4] into *length (unauthenticated). 0 or an mssh_err. */
int mssh_chachapoly_length(mssh_chachapoly *ctx, uint32_t seq, const uint8_t *in, uint32_t *length);

/* Encrypts packet[4 + len] in place (the length field under its own key) and writes the tag behind it, at
 * packet + 4 + len. 0 or an mssh_err. */
int mssh_chachapoly_seal(mssh_chachapoly *ctx, uint32_t seq, uint8_t *packet, size_t len);

/* Checks the tag at packet + 4 + len first, then decrypts packet + 4 in place. MSSH_ERR_MAC when it does not
 * match: nothing is changed. */
int mssh_chachapoly_open(mssh_chachapoly *ctx, uint32_t seq, uint8_t *packet, size_t len);

/* Decrypts packet + 4 in place without checking the tag. 0 or an mssh_err. */
int mssh_chachapoly_open_unverified(mssh_chachapoly *ctx, uint32_t seq, uint8_t *packet, size_t len);

/* Checks the tag at text + len, which covers text alone, then decrypts text[len] in place: as an encrypted
 * key file has it, without a length and with sequence number 0. MSSH_ERR_MAC when it does not match. */
int mssh_chachapoly_open_file(mssh_chachapoly *ctx, uint8_t *text, size_t len);

#endif
