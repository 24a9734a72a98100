/*
 * Certificates of OpenSSH (PROTOCOL.certkeys): a public key, whose it is and what it is for, signed by an
 * authority's key. A certificate that parses is well formed and was signed by the key that it names; whether
 * that key is trusted, and the certificate good for what it is shown for, is the caller's to judge.
 */
#ifndef MSSH_KEYS_CERTIFICATE_H
#define MSSH_KEYS_CERTIFICATE_H

#include "keys/key.h"

typedef enum mssh_certificate_use {
    MSSH_CERTIFICATE_USER = 1,
    MSSH_CERTIFICATE_HOST = 2
} mssh_certificate_use;

/* Views are valid as long as the key. */
typedef struct mssh_certificate {
    uint64_t serial;
    mssh_certificate_use use;
    mssh_slice key_id;
    mssh_slice principals; /* strings, one after the other */
    uint64_t valid_after;  /* seconds since 1970: valid from this one on */
    uint64_t valid_before; /* and not from this one on; UINT64_MAX: for ever */
    mssh_slice critical;   /* pairs of strings: name and data */
    mssh_slice extensions; /* the same */
    mssh_slice authority;  /* public blob of the key that signed */
    mssh_slice signed_as;  /* the signature's algorithm */
} mssh_certificate;

/* The certificate of a key, valid as long as it; NULL when the key is none. */
const mssh_certificate *mssh_key_certificate(const mssh_key *key);

#endif
