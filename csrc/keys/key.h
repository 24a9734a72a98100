/*
 * SSH keys: public and private, parsed from wire blobs and files, signing and verifying in SSH's formats (RFC
 * 4253 6.6, RFC 5656, RFC 8332, RFC 8709). A key is immutable and reference-counted (not atomically: one Lua
 * state, one thread).
 *
 * A certificate (OpenSSH's PROTOCOL.certkeys) is a public key too, of a type of its own: see
 * keys/certificate.h. Keys of security keys ("sk-…", PROTOCOL.u2f) verify; they sign elsewhere.
 */
#ifndef MSSH_KEYS_KEY_H
#define MSSH_KEYS_KEY_H

#include "base/buf.h"
#include "base/error.h"
#include "crypto/hash.h"

/* Largest RSA modulus and smallest accepted, in bits; smallest may be lowered only by who asks for it by
 * name. */
enum { MSSH_RSA_MAX_BITS = 16384, MSSH_RSA_MIN_BITS = 2048 };

typedef struct mssh_key mssh_key;

/* A signature algorithm: the name negotiated or sent, the key type it belongs to, and its hash. */
typedef struct mssh_sig_algorithm {
    const char *name;      /* "rsa-sha2-512", "rsa-sha2-512-cert-v01@openssh.com" */
    const char *key_type;  /* "ssh-rsa", "ssh-rsa-cert-v01@openssh.com" */
    const char *signed_as; /* what the signature blob says: "rsa-sha2-512" for both */
    mssh_hash_id hash;     /* ignored for ed25519 */
} mssh_sig_algorithm;

/* The row of a signature algorithm name, or NULL. */
const mssh_sig_algorithm *mssh_sig_algorithm_find(mssh_slice name);

/* The i-th signature algorithm in order of preference, or NULL past the end. Those of certificates come after
 * all plain ones, and those by SHA-1 last. */
const mssh_sig_algorithm *mssh_sig_algorithm_at(size_t i);

/* Parses a public key blob (RFC 4253 6.6). The whole blob must be used. RSA outside MSSH_RSA_MIN_BITS..MAX,
 * an even or tiny modulus or exponent, a point that is not on the curve or not uncompressed, a certificate
 * that its authority has not signed: MSSH_ERR_KEY_FORMAT, said in *failure (may be NULL). 0: *key is the
 * caller's. */
int mssh_key_parse_public(mssh_mem *mem, mssh_slice blob, mssh_key **key, mssh_failure *failure);

/* The same, with RSA from min_rsa_bits on (at least 1024; 0: MSSH_RSA_MIN_BITS), for who asks for that by
 * name. Not for certificates. */
int mssh_key_parse_public_from(mssh_mem *mem, mssh_slice blob, unsigned min_rsa_bits, mssh_key **key,
                               mssh_failure *failure);

/* Parses text of a key file of any format: private (OpenSSH, PEM, PKCS#8, PuTTY) or public (a line as in
 * authorized_keys, or "SSH2 PUBLIC KEY"). An encrypted one needs `passphrase` (data NULL: none given):
 * MSSH_ERR_PASSPHRASE when it is missing or wrong. Costly KDF settings (over 1,024 bcrypt rounds, see also
 * crypto/argon2.h) are MSSH_ERR_LIMIT. 0: *key is the caller's. */
int mssh_key_parse_file(mssh_mem *mem, mssh_slice text, mssh_slice passphrase, mssh_key **key,
                        mssh_failure *failure);

/* Makes a key pair: "ed25519", "ecdsa" (bits 256, 384, 521) or "rsa" (bits >= 2048); bits 0: the type's
 * default. */
int mssh_key_generate(mssh_mem *mem, const char *type, unsigned bits, mssh_key **key, mssh_failure *failure);

/* One more owner; returns the key. */
mssh_key *mssh_key_ref(mssh_key *key);

/* One owner less; the last one wipes and frees it. NULL is fine. */
void mssh_key_free(mssh_key *key);

/* The key type name, e.g. "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa-cert-v01@openssh.com"; valid as long
 * as the key. */
const char *mssh_key_type(const mssh_key *key);

/* Size in bits: modulus or curve (256 for ed25519). */
unsigned mssh_key_bits(const mssh_key *key);

/* Whether the private half is there, to sign with. */
bool mssh_key_is_private(const mssh_key *key);

/* The public blob (RFC 4253 6.6), of a certificate the whole of it; valid as long as the key. */
mssh_slice mssh_key_blob(const mssh_key *key);

/* The public blob without a certificate around it; valid as long as the key. */
mssh_slice mssh_key_plain_blob(const mssh_key *key);

/* The comment of the file it came from, may be empty; valid as long as the key. */
mssh_slice mssh_key_comment(const mssh_key *key);

/* Signs data with the private half: appends the signature blob (string algorithm, string signature) to *out.
 * The algorithm must belong to the key's type: MSSH_ERR_UNSUPPORTED if not, or where the private half is in a
 * security key. */
int mssh_key_sign(const mssh_key *key, mssh_slice algorithm, mssh_slice data, mssh_buf *out);

/* Checks a signature blob over data: `algorithm` must belong to the key's type, or to that of the key in the
 * certificate, the blob must name what this algorithm signs as, and nothing may be left over. 0 only for a
 * good signature; MSSH_ERR_PROTOCOL for anything else. Of a security key's signature the flags are part of
 * what is signed, and not judged. */
int mssh_key_verify(const mssh_key *key, mssh_slice algorithm, mssh_slice data, mssh_slice signature);

/* Appends what a private key file and an agent have of a key: its type and all its fields, without the
 * comment. MSSH_ERR_STATE when the private half, or the handle of a security key, is not there. */
int mssh_key_write_private(const mssh_key *key, mssh_buf *out);

/* What a private key file can be written as. */
typedef enum mssh_key_format {
    MSSH_KEY_OPENSSH, /* "openssh-key-v1", encrypted with aes256-ctr and bcrypt */
    MSSH_KEY_PEM,     /* PKCS#1 or SEC1; there is none for ed25519 */
    MSSH_KEY_PKCS8    /* PBKDF2 and AES-256 */
} mssh_key_format;

/* Appends the private key as such a file, encrypted when a passphrase is given; the PEM formats hold no
 * comment. MSSH_ERR_UNSUPPORTED: the key has no such form; MSSH_ERR_STATE: there is no private half. */
int mssh_key_export(const mssh_key *key, mssh_key_format format, mssh_slice passphrase, mssh_slice comment,
                    mssh_buf *out);

/* Fingerprint of a public blob as ssh-keygen prints it: "SHA256:base64" (hash SHA256) or "MD5:aa:bb:…" (hash
 * MD5), terminated, into out[size]; 64 bytes suffice. 0 or an mssh_err. */
int mssh_key_fingerprint(mssh_slice blob, mssh_hash_id hash, char *out, size_t size);

#endif
