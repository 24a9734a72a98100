/*
 * Key pairs for signatures, as numbers in and numbers out: the encodings of SSH are the business of keys/.
 */
#ifndef MSSH_CRYPTO_PKEY_H
#define MSSH_CRYPTO_PKEY_H

#include "base/buf.h"
#include "crypto/hash.h"

typedef enum mssh_pkey_kind {
    MSSH_PKEY_ED25519,
    MSSH_PKEY_P256,
    MSSH_PKEY_P384,
    MSSH_PKEY_P521,
    MSSH_PKEY_RSA,
    MSSH_PKEY_DSA,
} mssh_pkey_kind;

/*
 * The numbers of a key, by kind; the public ones come first. Integers are big-endian magnitudes.
 *   ed25519: public key (32 bytes); seed (32 bytes)
 *   curves:  point, uncompressed; scalar
 *   RSA:     n, e; d, p, q, q^-1 mod p
 *   DSA:     p, q, g, y; x
 */
enum { MSSH_PKEY_PARTS_MAX = 6 };

/* Longest signature, in bytes; RSA moduli in bits. */
enum { MSSH_PKEY_SIGNATURE_MAX = 2048, MSSH_PKEY_RSA_MIN_BITS = 1024, MSSH_PKEY_RSA_MAX_BITS = 16384 };

/* The same of DSA, which has them for p; and bits of q. */
enum { MSSH_PKEY_DSA_MIN_BITS = 1024, MSSH_PKEY_DSA_MAX_BITS = 3072, MSSH_PKEY_DSA_Q_BITS = 160 };

typedef struct mssh_pkey mssh_pkey;

/* How many parts the public half of a kind has, or the whole pair. */
size_t mssh_pkey_n_parts(mssh_pkey_kind kind, bool with_private);

/* A key from its parts (borrowed). A point off the curve or not uncompressed, an RSA modulus that is even or
 * outside the bounds, an exponent that is even or outside 3..2^32, a private half that does not match the
 * public one: MSSH_ERR_KEY_FORMAT. 0: *key is the caller's. */
int mssh_pkey_new(mssh_pkey_kind kind, const mssh_slice *parts, bool with_private, mssh_pkey **key);

/* Makes a key pair; bits are for RSA alone. */
int mssh_pkey_generate(mssh_pkey_kind kind, unsigned bits, mssh_pkey **key);

/* Reads the first private key in PEM text: PKCS#1, SEC1 (also encrypted by "Proc-Type"), PKCS#8. Passphrase
 * data NULL: none given. MSSH_ERR_PASSPHRASE: encrypted, and the passphrase is missing or wrong.
 * MSSH_ERR_KEY_FORMAT: damaged. MSSH_ERR_UNSUPPORTED: a key or encryption that is not offered.
 * MSSH_ERR_LIMIT: its key derivation would take too long. */
int mssh_pkey_from_pem(mssh_mem *mem, mssh_slice text, mssh_slice passphrase, mssh_pkey **key);

/* How a private key is written in PEM: as PKCS#1 or SEC1, by its kind, or as PKCS#8. */
typedef enum mssh_pem_form { MSSH_PEM_TRADITIONAL, MSSH_PEM_PKCS8 } mssh_pem_form;

/* Appends the private key in PEM, encrypted unless the passphrase is empty: PKCS#8 with PBKDF2 and AES-256,
 * the traditional forms as ssh-keygen does. MSSH_ERR_UNSUPPORTED: the kind has no traditional form, or
 * OpenSSL refuses. MSSH_ERR_STATE: no private half. */
int mssh_pkey_write_pem(const mssh_pkey *key, mssh_pem_form form, mssh_slice passphrase, mssh_buf *out);

/* Wipes and frees it; NULL is fine. */
void mssh_pkey_free(mssh_pkey *key);

/* What kind of key it is. */
mssh_pkey_kind mssh_pkey_kind_of(const mssh_pkey *key);

/* Bits of the modulus or of the curve (256 for ed25519). */
unsigned mssh_pkey_bits(const mssh_pkey *key);

/* Whether the private half is there. */
bool mssh_pkey_is_private(const mssh_pkey *key);

/* Writes the key's parts into *bytes, which must be empty, and views them in `parts`, valid until its next
 * change; the private ones only when with_private. 0 or an mssh_err. */
int mssh_pkey_parts(const mssh_pkey *key, bool with_private, mssh_buf *bytes, mssh_slice *parts);

/* Length of a signature in bytes: 64, twice the length of the field or of q, or that of the modulus. */
size_t mssh_pkey_signature_len(const mssh_pkey *key);

/* Signs data into out[signature_len]; the curves and DSA give r and s, each padded to half of it. Ed25519
 * ignores the hash; RSA is PKCS#1 v1.5. 0 or an mssh_err. */
int mssh_pkey_sign(const mssh_pkey *key, mssh_hash_id hash, mssh_slice data, uint8_t *out);

/* Checks a signature, in the form that sign gives. 0 only for a good one, else MSSH_ERR_PROTOCOL. */
int mssh_pkey_verify(const mssh_pkey *key, mssh_hash_id hash, mssh_slice data, mssh_slice signature);

#endif
