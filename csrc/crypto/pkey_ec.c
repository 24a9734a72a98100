/* ECDSA over the NIST curves. */
#include "crypto/pkey_ops.h"

#include "base/error.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/objects.h>

EVP_PKEY *mssh_pkey_from_params(const char *type, OSSL_PARAM_BLD *builder, bool with_private)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *evp = NULL;

    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &evp, with_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) != 1)
        evp = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return evp;
}

EVP_PKEY *mssh_pkey_from_numbers(const char *type, const char *const *names, BIGNUM *const *numbers, size_t n,
                                 bool with_private)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *made = NULL;
    size_t i = 0;

    while (builder != NULL && i < n && OSSL_PARAM_BLD_push_BN(builder, names[i], numbers[i]) == 1)
        i++;
    if (builder != NULL && i == n)
        made = mssh_pkey_from_params(type, builder, with_private);
    OSSL_PARAM_BLD_free(builder);
    return made;
}

int mssh_pkey_append_bn(const EVP_PKEY *evp, const char *param, size_t len, mssh_buf *bytes)
{
    BIGNUM *value = NULL;
    uint8_t *room;
    int rc = MSSH_ERR_KEY_FORMAT;

    if (EVP_PKEY_get_bn_param(evp, param, &value) != 1)
        goto out;
    if (len == 0)
        len = (size_t)BN_num_bytes(value);
    room = mssh_buf_reserve(bytes, len);
    if (room == NULL) {
        rc = bytes->error;
    } else if (BN_bn2binpad(value, room, (int)len) == (int)len) {
        mssh_buf_commit(bytes, len);
        rc = 0;
    }
out:
    BN_clear_free(value);
    return rc;
}

/* Whether 0 < scalar < order and scalar * generator is the point. */
static bool matches(const mssh_pkey_row *row, mssh_slice point, const BIGNUM *scalar)
{
    bool same = false;
    EC_GROUP *group = EC_GROUP_new_by_curve_name(OBJ_sn2nid(row->group));
    EC_POINT *given = group != NULL ? EC_POINT_new(group) : NULL;
    EC_POINT *derived = group != NULL ? EC_POINT_new(group) : NULL;

    if (given != NULL && derived != NULL && !BN_is_zero(scalar) &&
        BN_cmp(scalar, EC_GROUP_get0_order(group)) < 0 &&
        EC_POINT_oct2point(group, given, point.data, point.len, NULL) == 1 &&
        EC_POINT_mul(group, derived, scalar, NULL, NULL, NULL) == 1)
        same = EC_POINT_cmp(group, given, derived, NULL) == 0;
    EC_POINT_clear_free(derived);
    EC_POINT_free(given);
    EC_GROUP_free(group);
    return same;
}

int mssh_pkey_ec_build(const mssh_pkey_row *row, const mssh_slice *parts, bool with_private, EVP_PKEY **evp)
{
    size_t field = (row->bits + 7) / 8;
    int rc = MSSH_ERR_KEY_FORMAT;
    OSSL_PARAM_BLD *builder = NULL;
    BIGNUM *scalar = NULL;
    EVP_PKEY *made = NULL;

    if (parts[0].len != 1 + 2 * field || parts[0].data[0] != POINT_CONVERSION_UNCOMPRESSED)
        return MSSH_ERR_KEY_FORMAT;
    if (with_private) {
        scalar = BN_secure_new();
        if (scalar == NULL || parts[1].len > field ||
            BN_bin2bn(parts[1].data, (int)parts[1].len, scalar) == NULL)
            goto out;
        BN_set_flags(scalar, BN_FLG_CONSTTIME);
        if (!matches(row, parts[0], scalar))
            goto out;
    }
    builder = OSSL_PARAM_BLD_new();
    if (builder == NULL ||
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, row->group, 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, parts[0].data, parts[0].len) !=
            1 ||
        (with_private && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, scalar) != 1))
        goto out;
    /* OpenSSL refuses a point that is not on the curve. */
    made = mssh_pkey_from_params(row->type, builder, with_private);
    if (made != NULL) {
        *evp = made;
        rc = 0;
    }
out:
    OSSL_PARAM_BLD_free(builder);
    BN_clear_free(scalar);
    return rc;
}

int mssh_pkey_ec_part(const mssh_pkey_row *row, const EVP_PKEY *evp, size_t i, mssh_buf *bytes)
{
    static const uint8_t form = POINT_CONVERSION_UNCOMPRESSED;
    size_t field = (row->bits + 7) / 8;
    int rc;

    if (i == 1)
        return mssh_pkey_append_bn(evp, OSSL_PKEY_PARAM_PRIV_KEY, field, bytes);
    /* By its coordinates: the encoded point may be a compressed one, as the file had it. */
    rc = mssh_buf_append(bytes, &form, 1);
    if (rc == 0)
        rc = mssh_pkey_append_bn(evp, OSSL_PKEY_PARAM_EC_PUB_X, field, bytes);
    if (rc == 0)
        rc = mssh_pkey_append_bn(evp, OSSL_PKEY_PARAM_EC_PUB_Y, field, bytes);
    return rc;
}

int mssh_pkey_ecdsa_from_der(mssh_slice der, uint8_t *out, size_t len)
{
    const unsigned char *at = der.data;
    int half = (int)(len / 2);
    int rc = MSSH_ERR_UNSUPPORTED;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)der.len);

    if (sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, half) == half &&
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, half) == half)
        rc = 0;
    ECDSA_SIG_free(sig);
    return rc;
}

int mssh_pkey_ecdsa_to_der(mssh_slice signature, uint8_t *der, size_t *der_len)
{
    int half = (int)(signature.len / 2);
    int len;
    int rc = MSSH_ERR_PROTOCOL;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature.data, half, NULL);
    BIGNUM *s = BN_bin2bn(signature.data + half, half, NULL);

    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1)
        goto out;
    r = s = NULL;
    len = i2d_ECDSA_SIG(sig, NULL);
    if (len <= 0 || len > MSSH_PKEY_DER_MAX)
        goto out;
    len = i2d_ECDSA_SIG(sig, &der);
    if (len > 0) {
        *der_len = (size_t)len;
        rc = 0;
    }
out:
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return rc;
}
