/*
 * UMAC (RFC 4418) with tags of 8 and 16 bytes, over AES-128 from OpenSSL: the MACs umac-64@openssh.com and
 * umac-128@openssh.com.
 */
#ifndef MSSH_CRYPTO_UMAC_H
#define MSSH_CRYPTO_UMAC_H

#include "base/slice.h"

enum { MSSH_UMAC_KEY_LEN = 16, MSSH_UMAC_TAG_MAX = 16 };

/* Longest message, in bytes: what the second layer's first polynomial is for. */
#define MSSH_UMAC_MESSAGE_MAX ((size_t)16 * 1024 * 1024)

/* A keyed UMAC, used for many messages. */
typedef struct mssh_umac mssh_umac;

/* Sets it up with a key of MSSH_UMAC_KEY_LEN bytes for tags of 8 or 16 bytes; NULL when OpenSSL cannot. */
mssh_umac *mssh_umac_new(size_t tag_len, const uint8_t *key);

/* Wipes and frees it; NULL is fine. */
void mssh_umac_free(mssh_umac *umac);

/* The tag of a message under a nonce, which SSH takes the sequence number for. 0 or an mssh_err. */
int mssh_umac_compute(mssh_umac *umac, uint64_t nonce, mssh_slice message, uint8_t *tag);

#endif
