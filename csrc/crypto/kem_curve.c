/* X25519 and the NIST curves, through EVP. */
#include "crypto/kem_ops.h"

#include "base/error.h"
#include "crypto/equal.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

typedef struct curve_row {
    const char *group; /* OpenSSL's name; NULL for X25519 */
    size_t public_len;
    size_t secret_len;
} curve_row;

static const curve_row rows[] = {
    [MSSH_KEM_X25519] = {NULL, 32, 32},
    [MSSH_KEM_P256] = {"P-256", 65, 32},
    [MSSH_KEM_P384] = {"P-384", 97, 48},
    [MSSH_KEM_P521] = {"P-521", 133, 66},
};

static int keypair(mssh_kem *kem, mssh_kem_value *public_value)
{
    const curve_row *row = &rows[kem->id];
    unsigned char *encoded = NULL;
    int rc = MSSH_ERR_UNSUPPORTED;
    EVP_PKEY *pair = row->group == NULL ? EVP_PKEY_Q_keygen(NULL, NULL, "X25519")
                                        : EVP_PKEY_Q_keygen(NULL, NULL, "EC", row->group);

    if (pair == NULL || EVP_PKEY_get1_encoded_public_key(pair, &encoded) != row->public_len)
        goto out;
    memcpy(public_value->bytes, encoded, row->public_len);
    public_value->len = row->public_len;
    EVP_PKEY_free(kem->state);
    kem->state = pair;
    pair = NULL;
    rc = 0;
out:
    OPENSSL_free(encoded);
    EVP_PKEY_free(pair);
    return rc;
}

/* The peer's value as a key, or NULL where it is none. A point must have the uncompressed form, which leaves
 * out infinity too; OpenSSL checks that it is on the curve. */
static EVP_PKEY *peer_key(const curve_row *row, mssh_slice peer)
{
    OSSL_PARAM params[3];
    char group[8];
    EVP_PKEY_CTX *ctx;
    EVP_PKEY *key = NULL;

    if (peer.len != row->public_len)
        return NULL;
    if (row->group == NULL)
        return EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, peer.data, peer.len);
    if (peer.data[0] != POINT_CONVERSION_UNCOMPRESSED)
        return NULL;
    memcpy(group, row->group, strlen(row->group) + 1);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    params[1] =
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)peer.data, peer.len);
    params[2] = OSSL_PARAM_construct_end();
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static int derive(mssh_kem *kem, mssh_slice peer, mssh_kem_value *secret)
{
    static const uint8_t zeros[sizeof secret->bytes];
    const curve_row *row = &rows[kem->id];
    size_t len = row->secret_len;
    int rc = MSSH_ERR_PROTOCOL;
    EVP_PKEY *other;
    EVP_PKEY_CTX *ctx = NULL;

    ERR_set_mark();
    other = peer_key(row, peer);
    if (other == NULL)
        goto out;
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, kem->state, NULL);
    if (ctx == NULL || EVP_PKEY_derive_init(ctx) != 1) {
        rc = MSSH_ERR_UNSUPPORTED;
        goto out;
    }
    /* Setting the peer validates its key; deriving fails for X25519's points of low order. */
    if (EVP_PKEY_derive_set_peer(ctx, other) != 1 || EVP_PKEY_derive(ctx, secret->bytes, &len) != 1 ||
        len != row->secret_len || mssh_equal_ct(secret->bytes, zeros, len))
        goto out;
    secret->len = len;
    rc = 0;
out:
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    (void)ERR_pop_to_mark();
    return rc;
}

static void wipe(mssh_kem *kem)
{
    EVP_PKEY_free(kem->state);
    kem->state = NULL;
}

const mssh_kem_ops mssh_kem_curve_ops = {keypair, derive, NULL, wipe};
