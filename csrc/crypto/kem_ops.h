/*
 * Inside of the key exchange methods: the private state, and the operations that a method's row has.
 */
#ifndef MSSH_CRYPTO_KEM_OPS_H
#define MSSH_CRYPTO_KEM_OPS_H

#include "crypto/kem.h"

/* A public value or a secret on its way out, so that nothing is appended before all has gone well. */
typedef struct mssh_kem_value {
    size_t len;
    uint8_t bytes[MSSH_KEM_PUBLIC_MAX];
} mssh_kem_value;

/* A method. The peer's value is checked in `derive` and `encapsulate`. */
typedef struct mssh_kem_ops {
    /* Makes the key pair in kem->state and gives its public value. 0 or an mssh_err. */
    int (*keypair)(mssh_kem *kem, mssh_kem_value *public_value);
    /* The secret of kem->state and the peer's value. 0, MSSH_ERR_PROTOCOL for a bad value, or an mssh_err. */
    int (*derive)(mssh_kem *kem, mssh_slice peer, mssh_kem_value *secret);
    /* The responder's part. NULL: a key pair of its own, then `derive`, as Diffie-Hellman has it. */
    int (*encapsulate)(mssh_kem *kem, mssh_slice peer, mssh_kem_value *public_value, mssh_kem_value *secret);
    /* Wipes and frees kem->state, which may be NULL. */
    void (*wipe)(mssh_kem *kem);
} mssh_kem_ops;

struct mssh_kem {
    mssh_mem *mem;
    const mssh_kem_ops *ops;
    mssh_kem_id id;
    bool has_keypair;
    void *state; /* the method's own */
};

/* Elliptic curves; the id tells which. */
extern const mssh_kem_ops mssh_kem_curve_ops;

/* Finite fields; the state holds the group from the start. */
extern const mssh_kem_ops mssh_kem_dh_ops;

/* Hybrids; the id tells which. */
extern const mssh_kem_ops mssh_kem_hybrid_ops;

/* Puts the state of a hybrid into kem->state. 0 or MSSH_ERR_MEMORY. */
int mssh_kem_hybrid_begin(mssh_kem *kem);

/* Puts the group (p, g) into kem->state: MSSH_ERR_PROTOCOL unless it is as mssh_kem_new_group says. */
int mssh_kem_dh_set_group(mssh_kem *kem, mssh_slice p, mssh_slice g, const unsigned bits[2]);

#endif
