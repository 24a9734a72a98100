/*
 * The post-quantum halves of the hybrid key exchanges: ML-KEM-768 (FIPS 203) and Streamlined NTRU Prime
 * sntrup761 (draft-ietf-sshm-ntruprime-ssh), each as a row of operations. Ours run in constant time: no
 * branch and no index depends on a secret.
 */
#ifndef MSSH_CRYPTO_KEM_PQ_H
#define MSSH_CRYPTO_KEM_PQ_H

#include "base/mem.h"
#include "base/slice.h"

/* Lengths in bytes. */
enum {
    MSSH_MLKEM_PUBLIC_LEN = 1184,
    MSSH_MLKEM_CIPHERTEXT_LEN = 1088,
    MSSH_MLKEM_SEED_LEN = 64, /* d, then z */
    MSSH_SNTRUP_PUBLIC_LEN = 1158,
    MSSH_SNTRUP_CIPHERTEXT_LEN = 1039,
    MSSH_PQ_SECRET_LEN = 32,
};

typedef struct mssh_pq_ops {
    size_t public_len;
    size_t ciphertext_len;
    /* Makes a key pair: *key is the private half, to be freed with `free`. 0 or an mssh_err. */
    int (*keypair)(mssh_mem *mem, void **key, uint8_t *public_value);
    /* A fresh secret and the ciphertext that carries it to the owner of the public value.
     * MSSH_ERR_PROTOCOL for a public value that is none. */
    int (*encapsulate)(mssh_mem *mem, const uint8_t *public_value, uint8_t *ciphertext, uint8_t *secret);
    /* The secret of a ciphertext. One that nobody made for this key gives another secret, which only the
     * owner could compute: nothing tells that it was bad. 0 or an mssh_err. */
    int (*decapsulate)(mssh_mem *mem, const void *key, const uint8_t *ciphertext, uint8_t *secret);
    /* Wipes and frees a private half. NULL is fine. */
    void (*free)(mssh_mem *mem, void *key);
} mssh_pq_ops;

/* ML-KEM-768: OpenSSL's where this OpenSSL has it (3.5 on), else ours. */
const mssh_pq_ops *mssh_mlkem768_ops(void);

/* Our ML-KEM-768, and OpenSSL's, which fails where there is none. */
extern const mssh_pq_ops mssh_mlkem768_own_ops;
extern const mssh_pq_ops mssh_mlkem768_evp_ops;

/* Ours with given randomness, for known answers: key generation from its seed, encapsulation from a message
 * of 32 bytes. */
int mssh_mlkem768_keypair_from(mssh_mem *mem, const uint8_t *seed, void **key, uint8_t *public_value);
int mssh_mlkem768_encapsulate_from(mssh_mem *mem, const uint8_t *public_value, const uint8_t *message,
                                   uint8_t *ciphertext, uint8_t *secret);

/* sntrup761. Its private half may be given and taken as bytes for known answers. */
extern const mssh_pq_ops mssh_sntrup761_ops;

#endif
