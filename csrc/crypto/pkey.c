#include "crypto/pkey_ops.h"

#include "base/error.h"
#include "crypto/equal.h"

#include <openssl/err.h>
#include <openssl/evp.h>

enum { ED25519_LEN = 32 };

static int ed25519_build(const mssh_pkey_row *row, const mssh_slice *parts, bool with_private, EVP_PKEY **evp)
{
    uint8_t derived[ED25519_LEN];
    size_t len = sizeof derived;
    EVP_PKEY *made;

    if (parts[0].len != ED25519_LEN || (with_private && parts[1].len != ED25519_LEN))
        return MSSH_ERR_KEY_FORMAT;
    if (with_private)
        made = EVP_PKEY_new_raw_private_key_ex(NULL, row->type, NULL, parts[1].data, parts[1].len);
    else
        made = EVP_PKEY_new_raw_public_key_ex(NULL, row->type, NULL, parts[0].data, parts[0].len);
    if (made == NULL)
        return MSSH_ERR_UNSUPPORTED;
    if (EVP_PKEY_get_raw_public_key(made, derived, &len) != 1 || len != sizeof derived ||
        !mssh_equal_ct(derived, parts[0].data, len)) {
        EVP_PKEY_free(made);
        return MSSH_ERR_KEY_FORMAT;
    }
    *evp = made;
    return 0;
}

static int ed25519_part(const mssh_pkey_row *row, const EVP_PKEY *evp, size_t i, mssh_buf *bytes)
{
    uint8_t raw[ED25519_LEN];
    size_t len = sizeof raw;
    int ok =
        i == 0 ? EVP_PKEY_get_raw_public_key(evp, raw, &len) : EVP_PKEY_get_raw_private_key(evp, raw, &len);
    int rc = ok == 1 && len == sizeof raw ? mssh_buf_append(bytes, raw, len) : MSSH_ERR_KEY_FORMAT;

    (void)row;
    mssh_wipe(raw, sizeof raw);
    return rc;
}

const mssh_pkey_row mssh_pkey_rows[] = {
    [MSSH_PKEY_ED25519] = {"ED25519", NULL, 256, 1, 2, ed25519_build, ed25519_part},
    [MSSH_PKEY_P256] = {"EC", "prime256v1", 256, 1, 2, mssh_pkey_ec_build, mssh_pkey_ec_part},
    [MSSH_PKEY_P384] = {"EC", "secp384r1", 384, 1, 2, mssh_pkey_ec_build, mssh_pkey_ec_part},
    [MSSH_PKEY_P521] = {"EC", "secp521r1", 521, 1, 2, mssh_pkey_ec_build, mssh_pkey_ec_part},
    [MSSH_PKEY_RSA] = {"RSA", NULL, 0, 2, 6, mssh_pkey_rsa_build, mssh_pkey_rsa_part},
    [MSSH_PKEY_DSA] = {"DSA", NULL, 0, 4, 5, mssh_pkey_dsa_build, mssh_pkey_dsa_part},
};

enum { N_ROWS = sizeof mssh_pkey_rows / sizeof mssh_pkey_rows[0] };

size_t mssh_pkey_n_parts(mssh_pkey_kind kind, bool with_private)
{
    return with_private ? mssh_pkey_rows[kind].n_parts : mssh_pkey_rows[kind].n_public;
}

int mssh_pkey_wrap(mssh_pkey_kind kind, EVP_PKEY *evp, bool is_private, mssh_pkey **key)
{
    mssh_pkey *made = OPENSSL_zalloc(sizeof *made);

    if (made == NULL) {
        EVP_PKEY_free(evp);
        return MSSH_ERR_MEMORY;
    }
    *made = (mssh_pkey){&mssh_pkey_rows[kind], evp, kind, is_private};
    *key = made;
    return 0;
}

int mssh_pkey_new(mssh_pkey_kind kind, const mssh_slice *parts, bool with_private, mssh_pkey **key)
{
    const mssh_pkey_row *row = &mssh_pkey_rows[kind];
    EVP_PKEY *evp = NULL;
    int rc;

    ERR_set_mark();
    rc = row->build(row, parts, with_private, &evp);
    (void)ERR_pop_to_mark();
    return rc == 0 ? mssh_pkey_wrap(kind, evp, with_private, key) : rc;
}

int mssh_pkey_generate(mssh_pkey_kind kind, unsigned bits, mssh_pkey **key)
{
    const mssh_pkey_row *row = &mssh_pkey_rows[kind];
    EVP_PKEY *evp;

    if (kind == MSSH_PKEY_DSA)
        return MSSH_ERR_UNSUPPORTED;
    if (kind == MSSH_PKEY_RSA && (bits < MSSH_PKEY_RSA_MIN_BITS || bits > MSSH_PKEY_RSA_MAX_BITS))
        return MSSH_ERR_LIMIT;
    if (kind == MSSH_PKEY_RSA)
        evp = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
    else if (row->group != NULL)
        evp = EVP_PKEY_Q_keygen(NULL, NULL, "EC", row->group);
    else
        evp = EVP_PKEY_Q_keygen(NULL, NULL, row->type);
    return evp == NULL ? MSSH_ERR_UNSUPPORTED : mssh_pkey_wrap(kind, evp, true, key);
}

void mssh_pkey_free(mssh_pkey *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->evp);
    OPENSSL_free(key);
}

mssh_pkey_kind mssh_pkey_kind_of(const mssh_pkey *key)
{
    return key->kind;
}

unsigned mssh_pkey_bits(const mssh_pkey *key)
{
    return key->row->bits != 0 ? key->row->bits : (unsigned)EVP_PKEY_get_bits(key->evp);
}

bool mssh_pkey_is_private(const mssh_pkey *key)
{
    return key->is_private;
}

static int collect_parts(const mssh_pkey_row *row, const EVP_PKEY *evp, size_t n, mssh_buf *bytes,
                         mssh_slice *parts)
{
    size_t ends[MSSH_PKEY_PARTS_MAX];

    for (size_t i = 0; i < n; i++) {
        int rc = row->part(row, evp, i, bytes);
        if (rc != 0)
            return rc;
        ends[i] = mssh_buf_len(bytes);
    }
    /* Only now does the buffer stay where it is. */
    for (size_t i = 0, start = 0; i < n; start = ends[i++])
        parts[i] = mssh_slice_of(mssh_buf_bytes(bytes) + start, ends[i] - start);
    return 0;
}

int mssh_pkey_parts(const mssh_pkey *key, bool with_private, mssh_buf *bytes, mssh_slice *parts)
{
    if (with_private && !key->is_private)
        return MSSH_ERR_STATE;
    return collect_parts(key->row, key->evp, mssh_pkey_n_parts(key->kind, with_private), bytes, parts);
}

static bool is_of_row(const EVP_PKEY *evp, const mssh_pkey_row *row)
{
    char group[32];
    size_t len = 0;

    if (EVP_PKEY_is_a(evp, row->type) != 1)
        return false;
    return row->group == NULL || (EVP_PKEY_get_group_name(evp, group, sizeof group, &len) == 1 &&
                                  mssh_slice_is(mssh_slice_of_text(group), row->group));
}

int mssh_pkey_import(mssh_mem *mem, const EVP_PKEY *evp, mssh_pkey **key)
{
    mssh_slice parts[MSSH_PKEY_PARTS_MAX];
    mssh_buf bytes;
    size_t kind = 0;
    int rc;

    while (kind < N_ROWS && !is_of_row(evp, &mssh_pkey_rows[kind]))
        kind++;
    if (kind == N_ROWS)
        return MSSH_ERR_UNSUPPORTED;
    mssh_buf_init(&bytes, mem, 16 * MSSH_PKEY_SIGNATURE_MAX);
    rc = collect_parts(&mssh_pkey_rows[kind], evp, mssh_pkey_rows[kind].n_parts, &bytes, parts);
    if (rc == 0)
        rc = mssh_pkey_new((mssh_pkey_kind)kind, parts, true, key);
    mssh_buf_free(&bytes);
    return rc;
}

size_t mssh_pkey_signature_len(const mssh_pkey *key)
{
    switch (key->kind) {
    case MSSH_PKEY_ED25519:
        return 64;
    case MSSH_PKEY_RSA:
        return (mssh_pkey_bits(key) + 7) / 8;
    case MSSH_PKEY_DSA:
        return 2 * MSSH_PKEY_DSA_Q_BITS / 8;
    default:
        return 2 * ((size_t)(key->row->bits + 7) / 8);
    }
}

/* Whether OpenSSL has the signatures in DER, as two numbers. */
static bool uses_der(const mssh_pkey *key)
{
    return key->row->group != NULL || key->kind == MSSH_PKEY_DSA;
}

/* The digest's name for OpenSSL; Ed25519 has its own. */
static const char *digest_name(const mssh_pkey *key, mssh_hash_id hash)
{
    return key->kind == MSSH_PKEY_ED25519 ? NULL : mssh_hash_name(hash);
}

int mssh_pkey_sign(const mssh_pkey *key, mssh_hash_id hash, mssh_slice data, uint8_t *out)
{
    uint8_t made[MSSH_PKEY_SIGNATURE_MAX];
    size_t want = mssh_pkey_signature_len(key);
    size_t len = sizeof made;
    int rc = MSSH_ERR_UNSUPPORTED;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (!key->is_private) {
        rc = MSSH_ERR_STATE;
        goto out;
    }
    if (ctx == NULL ||
        EVP_DigestSignInit_ex(ctx, NULL, digest_name(key, hash), NULL, NULL, key->evp, NULL) != 1 ||
        EVP_DigestSign(ctx, made, &len, data.data, data.len) != 1)
        goto out;
    if (uses_der(key)) {
        rc = mssh_pkey_ecdsa_from_der(mssh_slice_of(made, len), out, want);
    } else if (len == want) {
        memcpy(out, made, len);
        rc = 0;
    }
out:
    EVP_MD_CTX_free(ctx);
    return rc;
}

int mssh_pkey_verify(const mssh_pkey *key, mssh_hash_id hash, mssh_slice data, mssh_slice signature)
{
    uint8_t der[MSSH_PKEY_DER_MAX];
    size_t der_len = 0;
    int rc = MSSH_ERR_PROTOCOL;
    EVP_MD_CTX *ctx;

    if (signature.len != mssh_pkey_signature_len(key))
        return MSSH_ERR_PROTOCOL;
    if (uses_der(key)) {
        if (mssh_pkey_ecdsa_to_der(signature, der, &der_len) != 0)
            return MSSH_ERR_PROTOCOL;
        signature = mssh_slice_of(der, der_len);
    }
    ERR_set_mark();
    ctx = EVP_MD_CTX_new();
    /* 1 alone is a good signature: 0 is a bad one, and anything else no answer. */
    if (ctx != NULL &&
        EVP_DigestVerifyInit_ex(ctx, NULL, digest_name(key, hash), NULL, NULL, key->evp, NULL) == 1 &&
        EVP_DigestVerify(ctx, signature.data, signature.len, data.data, data.len) == 1)
        rc = 0;
    EVP_MD_CTX_free(ctx);
    (void)ERR_pop_to_mark();
    return rc;
}
