/*
 * How a binary packet is protected on the wire (RFC 4253 6, RFC 5647, OpenSSH's PROTOCOL 1.6 and
 * PROTOCOL.chacha20poly1305): one family of framings behind one small table of operations, so that the packet
 * layer has no branch on the kind of cipher. A seal serves one direction.
 *
 * A packet is, in one piece: uint32 packet_length, byte padding_length, payload, padding, tag. `length` below
 * is packet_length: what lies between the length field and the tag. The order for an incoming packet is peek
 * once, then open once, then, if that gave MSSH_ERR_MAC and the packet is to be taken nonetheless,
 * open_unverified.
 */
#ifndef MSSH_TRANSPORT_SEAL_H
#define MSSH_TRANSPORT_SEAL_H

#include "transport/algorithms.h"

typedef struct mssh_seal mssh_seal;

typedef struct mssh_seal_ops {
    /* Tells packet_length from the first seal->head_len bytes, which may be decrypted in place. 0 or an
     * mssh_err. */
    int (*peek)(mssh_seal *seal, uint32_t seq, uint8_t *packet, uint32_t *length);
    /* Verifies the tag behind the packet and decrypts all in place. 0, MSSH_ERR_MAC or another mssh_err. */
    int (*open)(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length);
    /* After MSSH_ERR_MAC: decrypts what open left, in step with the sender. `packet` holds what it held
     * before open where seal->spoils. 0 or an mssh_err. */
    int (*open_unverified)(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length);
    /* Encrypts a packet, whose length field is set, in place and writes the tag behind it. 0 or an mssh_err.
     */
    int (*seal)(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length);
    /* Spends the time that the tag of a packet with `len` more bytes would take. Only where `conceals`. */
    void (*spend)(mssh_seal *seal, size_t len);
    /* Wipes and frees it. */
    void (*free)(mssh_seal *seal);
} mssh_seal_ops;

struct mssh_seal {
    const mssh_seal_ops *ops;
    mssh_mem *mem;
    size_t block_len;
    size_t head_len; /* bytes that peek needs */
    size_t tag_len;
    bool unpadded;       /* no padding at all */
    bool length_apart;   /* the length field is not part of what is padded to the block */
    bool decrypts_first; /* the tag covers the plain text: after MSSH_ERR_MAC that is what is to be seen */
    bool conceals; /* CBC under encrypt-and-MAC: how a bad packet is refused must not tell what is wrong */
    bool spoils;   /* a failed open may change the packet: open_unverified needs the original */
};

/* Secrets of one direction, as the KDF gives them (RFC 4253 7.2). */
typedef struct mssh_seal_keys {
    uint8_t iv[MSSH_CIPHER_IV_MAX];
    uint8_t key[64];
    uint8_t mac_key[MSSH_HASH_MAX];
} mssh_seal_keys;

/* No protection at all, until the first NEWKEYS. NULL when out of memory. */
mssh_seal *mssh_seal_clear_new(mssh_mem *mem);

/* A cipher with a separate MAC, encrypt-and-MAC or encrypt-then-MAC by its row; `encrypt` for the sending
 * side. NULL when out of memory or OpenSSL cannot. */
mssh_seal *mssh_seal_mac_new(mssh_mem *mem, const mssh_cipher_row *cipher, const mssh_mac_row *mac,
                             bool encrypt, const mssh_seal_keys *keys);

/* AES-GCM. NULL as above. */
mssh_seal *mssh_seal_gcm_new(mssh_mem *mem, const mssh_cipher_row *cipher, bool encrypt,
                             const mssh_seal_keys *keys);

/* chacha20-poly1305. NULL as above. */
mssh_seal *mssh_seal_chacha_new(mssh_mem *mem, const mssh_seal_keys *keys);

/* The framing that a cipher's row asks for; `mac` is not used for AEAD ciphers. NULL as above. */
mssh_seal *mssh_seal_new(mssh_mem *mem, const mssh_cipher_row *cipher, const mssh_mac_row *mac, bool encrypt,
                         const mssh_seal_keys *keys);

/* Wipes and frees a seal; NULL is fine. */
void mssh_seal_free(mssh_seal *seal);

#endif
