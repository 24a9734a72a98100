/*
 * One run of a key exchange method, from the first message behind the KEXINITs to the exchange hash: basic
 * Diffie-Hellman in any group or curve (RFC 4253 8, RFC 5656 4, RFC 8731) and the group exchange (RFC 4419).
 * It makes and takes payloads, nothing else.
 */
#ifndef MSSH_TRANSPORT_KEX_H
#define MSSH_TRANSPORT_KEX_H

#include "transport/kexinit.h"
#include "wire/reader.h"

typedef struct mssh_kex {
    mssh_mem *mem;
    mssh_role role;
    const mssh_kex_row *method;
    const char *host_key_algorithm;
    const mssh_key *host_key; /* server: signs; referenced */
    unsigned group_bits;      /* client: size of the group to ask for */
    unsigned min_rsa_bits;    /* client: smallest RSA host key; 0: MSSH_RSA_MIN_BITS */
    mssh_kem *kem;
    mssh_buf transcript;    /* what H begins with: V_C, V_S, I_C, I_S as strings, filled in by the owner */
    mssh_buf host_key_blob; /* K_S */
    mssh_buf signature;     /* client: the server's, of H */
    mssh_buf group;         /* group exchange: min, n, max, p, g as they enter H */
    mssh_buf public_value;  /* the client's, without its length */
    mssh_buf secret;        /* K as it enters H and the KDF: an mpint, or what the method says */
    mssh_buf message;       /* payload to send next; the owner takes it and clears it */
    uint8_t hash[MSSH_HASH_MAX]; /* H */
    uint8_t expected;            /* number of the peer's next message; 0: H and the secret are there */
} mssh_kex;

/* Prepares a run; the owner then sets method, host_key_algorithm, host_key, group_bits and fills the
 * transcript.
 */
void mssh_kex_init(mssh_kex *kex, mssh_mem *mem, mssh_role role);

/* Wipes and frees all it owns; it is as after init. */
void mssh_kex_free(mssh_kex *kex);

/* Begins: a client's first message is in ->message. 0 or an mssh_err, said in *failure. */
int mssh_kex_start(mssh_kex *kex, mssh_failure *failure);

/* Takes the message with the number ->expected; may leave one in ->message. On a client's last message the
 * signature of the host key has been verified. 0 or an mssh_err, said in *failure. */
int mssh_kex_handle(mssh_kex *kex, mssh_slice payload, mssh_failure *failure);

/* Length of ->hash. */
size_t mssh_kex_hash_len(const mssh_kex *kex);

/* For the flows: */

/* Makes the client's key pair and leaves the message `number` with its public value in ->message. */
int mssh_kex_offer(mssh_kex *kex, uint8_t number, mssh_failure *failure);

/* The client takes the server's last message behind its number: string K_S, the public value, string
 * signature.
 */
int mssh_kex_conclude(mssh_kex *kex, mssh_reader *reader, mssh_failure *failure);

/* The server takes the client's public value and leaves its last message, `number`, in ->message. */
int mssh_kex_respond(mssh_kex *kex, mssh_reader *reader, uint8_t number, mssh_failure *failure);

/* MSSH_ERR_PROTOCOL with DISCONNECT 3, in these words. */
int mssh_kex_reject(mssh_failure *failure, const char *why);

/* Start and handle of the flows. */
int mssh_kex_basic_start(mssh_kex *kex, mssh_failure *failure);
int mssh_kex_basic_handle(mssh_kex *kex, mssh_slice payload, mssh_failure *failure);
int mssh_kex_gex_start(mssh_kex *kex, mssh_failure *failure);
int mssh_kex_gex_handle(mssh_kex *kex, mssh_slice payload, mssh_failure *failure);

#endif
