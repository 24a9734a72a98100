/*
 * The algorithms this build knows, as rows. The order of each table is the policy: it is the order of
 * preference of the default offer.
 */
#ifndef MSSH_TRANSPORT_ALGORITHMS_H
#define MSSH_TRANSPORT_ALGORITHMS_H

#include "crypto/cipher.h"
#include "crypto/hash.h"
#include "crypto/kem.h"
#include "transport/transport.h"

/* What every row begins with. */
typedef struct mssh_algorithm {
    const char *name;
    bool is_default; /* in the offer unless the caller names a list */
} mssh_algorithm;

/* Which messages a key exchange method goes through: 30 and 31 (RFC 4253 8, RFC 5656 4), or those of a group
 * exchange (RFC 4419 3). */
typedef enum mssh_kex_flow { MSSH_FLOW_BASIC, MSSH_FLOW_GEX } mssh_kex_flow;

typedef struct mssh_kex_row {
    mssh_algorithm algorithm;
    mssh_kex_flow flow;
    mssh_kem_id kem;
    mssh_hash_id hash;
    bool hybrid; /* K is a string, the hash that the KEM gives, and not an mpint */
} mssh_kex_row;

typedef struct mssh_host_key_row {
    mssh_algorithm algorithm;
} mssh_host_key_row;

/* How packets are sealed with a cipher. */
typedef enum mssh_seal_kind { MSSH_SEAL_MAC, MSSH_SEAL_GCM, MSSH_SEAL_CHACHA } mssh_seal_kind;

typedef struct mssh_cipher_row {
    mssh_algorithm algorithm;
    mssh_seal_kind kind;
    mssh_cipher_id id; /* of MSSH_SEAL_MAC only */
    uint8_t key_len;   /* bytes */
    uint8_t iv_len;    /* bytes */
    uint8_t block_len; /* packets are padded to a multiple of this */
    uint16_t bits;     /* of security */
    bool chained;      /* CBC: unsafe with -etm when the peer does no strict key exchange */
} mssh_cipher_row;

typedef struct mssh_mac_row {
    mssh_algorithm algorithm;
    mssh_hash_id hash;
    uint8_t key_len; /* bytes */
    uint8_t tag_len; /* bytes */
    bool etm;        /* computed over the encrypted packet */
    bool umac;       /* UMAC, without a hash */
} mssh_mac_row;

typedef enum mssh_compression_start {
    MSSH_COMPRESS_NEVER,
    MSSH_COMPRESS_AT_ONCE,   /* with the first packet after NEWKEYS */
    MSSH_COMPRESS_AFTER_AUTH /* the same, but not before the user is authenticated */
} mssh_compression_start;

typedef struct mssh_compression_row {
    mssh_algorithm algorithm;
    mssh_compression_start start;
} mssh_compression_row;

/* The row of a name, to be cast to the class's own type; NULL when it is not known, or not to be had from
 * this OpenSSL. */
const mssh_algorithm *mssh_algorithm_find(mssh_algorithm_class cls, mssh_slice name);

/* "kex", "host_key", "cipher", "mac" or "compression". */
const char *mssh_algorithm_class_name(mssh_algorithm_class cls);

/* Appends the default name-list of a class. 0 or buf->error. */
int mssh_algorithm_write_defaults(mssh_algorithm_class cls, mssh_buf *buf);

/* What of a cipher with a MAC (NULL for AEAD ciphers) lets an attacker drop packets unseen when the peer does
 * no strict key exchange (CVE-2023-48795). */
typedef enum mssh_hazard { MSSH_HAZARD_NONE, MSSH_HAZARD_CHACHA, MSSH_HAZARD_CBC_ETM } mssh_hazard;
mssh_hazard mssh_algorithm_hazard(const mssh_cipher_row *cipher, const mssh_mac_row *mac);

#endif
