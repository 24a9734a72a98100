/*
 * Key exchange as a KEM. The initiator (client) makes a key pair and sends its public value; the responder
 * encapsulates to it: it sends a public value of its own and has the secret; the initiator decapsulates.
 * Diffie-Hellman, elliptic curves and hybrids with a post-quantum KEM all fit.
 *
 * Public values are the content of the wire's string field. For finite-field DH that is the content of an
 * mpint (RFC 4253 8): no needless leading zero, a zero byte before a set top bit; anything else is rejected.
 */
#ifndef MSSH_CRYPTO_KEM_H
#define MSSH_CRYPTO_KEM_H

#include "base/buf.h"

typedef enum mssh_kem_id {
    MSSH_KEM_X25519, /* RFC 8731; low-order points and an all-zero secret are rejected */
    MSSH_KEM_P256,   /* RFC 5656; only the uncompressed form, on the curve */
    MSSH_KEM_P384,
    MSSH_KEM_P521,
    MSSH_KEM_MLKEM768_X25519, /* hybrids: the post-quantum value, then X25519's; the secret is a hash */
    MSSH_KEM_SNTRUP761_X25519,
    MSSH_KEM_DH1,  /* 1024 bits, RFC 2409's second group: too short, for old devices alone */
    MSSH_KEM_DH14, /* RFC 3526 groups; 1 < f < p-1, enough bits set */
    MSSH_KEM_DH15,
    MSSH_KEM_DH16,
    MSSH_KEM_DH17,
    MSSH_KEM_DH18,
    MSSH_KEM_DH_GROUP, /* a group given by the server (RFC 4419): see mssh_kem_new_group */
} mssh_kem_id;

/* Longest public value (ML-KEM-768 with X25519) and secret (8192-bit group), in bytes. */
#define MSSH_KEM_PUBLIC_MAX 1216
#define MSSH_KEM_SECRET_MAX 1040

typedef struct mssh_kem mssh_kem;

/* A fresh exchange with private state. NULL when out of memory or OpenSSL cannot. */
mssh_kem *mssh_kem_new(mssh_mem *mem, mssh_kem_id id);

/* The same over the group (p, g), big-endian magnitudes. MSSH_ERR_PROTOCOL, before any exponentiation, unless
 * p is odd with min_bits..max_bits bits and 1 < g < p-1. 0: *kem is the caller's. */
int mssh_kem_new_group(mssh_mem *mem, mssh_slice p, mssh_slice g, const unsigned bits[2], mssh_kem **kem);

/* Wipes and frees it; NULL is fine. */
void mssh_kem_free(mssh_kem *kem);

/* Initiator: makes the key pair and appends the public value to *public_value. 0 or an mssh_err. */
int mssh_kem_keypair(mssh_kem *kem, mssh_buf *public_value);

/* Responder: checks the initiator's public value, appends ours to *public_value and the raw secret
 * (big-endian magnitude, leading zeros kept as the method has them) to *secret. MSSH_ERR_PROTOCOL for a bad
 * value. */
int mssh_kem_encapsulate(mssh_kem *kem, mssh_slice peer, mssh_buf *public_value, mssh_buf *secret);

/* Initiator: checks the responder's public value and appends the raw secret. MSSH_ERR_PROTOCOL for a bad
 * value. */
int mssh_kem_decapsulate(mssh_kem *kem, mssh_slice peer, mssh_buf *secret);

/* The group (p, g) the server offers for a group exchange of about `bits` bits: the RFC 3526 group that fits
 * best; exactly 1024: RFC 2409's. Static. */
void mssh_kem_standard_group(unsigned bits, mssh_slice *p, mssh_slice *g);

#endif
