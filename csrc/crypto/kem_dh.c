/* Diffie-Hellman over a prime field, with a group of the standards or of the server. */
#include "crypto/kem_ops.h"

#include "base/error.h"

#include <openssl/bn.h>

/* Bits of the private exponent: twice the strength of the longest key derived from the secret. */
enum { EXPONENT_BITS = 512, LEAST_BITS_SET = 4, GROUP_MAX_BITS = 8192 };

typedef struct dh_state {
    BIGNUM *p;
    BIGNUM *g;
    BIGNUM *limit; /* p - 1 */
    BIGNUM *x;     /* private exponent */
    BN_CTX *ctx;
} dh_state;

static void wipe(mssh_kem *kem)
{
    dh_state *dh = kem->state;

    if (dh == NULL)
        return;
    BN_free(dh->p);
    BN_free(dh->g);
    BN_free(dh->limit);
    BN_clear_free(dh->x);
    BN_CTX_free(dh->ctx);
    mssh_free(kem->mem, dh, sizeof *dh);
    kem->state = NULL;
}

int mssh_kem_dh_set_group(mssh_kem *kem, mssh_slice p, mssh_slice g, const unsigned bits[2])
{
    unsigned most = bits[1] < GROUP_MAX_BITS ? bits[1] : GROUP_MAX_BITS;
    dh_state *dh;

    /* Lengths first: no work is spent on a number that is too long. */
    while (p.len > 0 && p.data[0] == 0)
        p = mssh_slice_of(p.data + 1, p.len - 1);
    if (p.len > GROUP_MAX_BITS / 8 || g.len > GROUP_MAX_BITS / 8)
        return MSSH_ERR_PROTOCOL;
    dh = mssh_alloc(kem->mem, sizeof *dh);
    if (dh == NULL)
        return MSSH_ERR_MEMORY;
    kem->state = dh;
    dh->p = BN_bin2bn(p.data, (int)p.len, NULL);
    dh->g = BN_bin2bn(g.data, (int)g.len, NULL);
    dh->limit = BN_dup(dh->p);
    dh->x = BN_secure_new();
    dh->ctx = BN_CTX_secure_new();
    if (dh->p == NULL || dh->g == NULL || dh->limit == NULL || dh->x == NULL || dh->ctx == NULL)
        return MSSH_ERR_MEMORY;
    if (BN_num_bits(dh->p) < (int)bits[0] || BN_num_bits(dh->p) > (int)most || !BN_is_odd(dh->p))
        return MSSH_ERR_PROTOCOL;
    if (BN_sub_word(dh->limit, 1) != 1)
        return MSSH_ERR_MEMORY;
    if (BN_is_zero(dh->g) || BN_is_one(dh->g) || BN_cmp(dh->g, dh->limit) >= 0)
        return MSSH_ERR_PROTOCOL;
    return 0;
}

/* Whether 1 < value < p-1 with a few bits set: what else would give the secret away. */
static bool is_valid(const dh_state *dh, const BIGNUM *value)
{
    int set = 0;

    if (BN_is_zero(value) || BN_is_one(value) || BN_cmp(value, dh->limit) >= 0)
        return false;
    for (int i = 0; i < BN_num_bits(value) && set < LEAST_BITS_SET; i++)
        set += BN_is_bit_set(value, i);
    return set >= LEAST_BITS_SET;
}

/* A random exponent of EXPONENT_BITS bits, or of one bit less than a group so small that this is shorter. */
static int make_exponent(dh_state *dh)
{
    int bits = BN_num_bits(dh->p) - 1;

    if (bits > EXPONENT_BITS)
        bits = EXPONENT_BITS;
    if (BN_priv_rand(dh->x, bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1)
        return MSSH_ERR_UNSUPPORTED;
    BN_set_flags(dh->x, BN_FLG_CONSTTIME);
    return 0;
}

static int keypair(mssh_kem *kem, mssh_kem_value *public_value)
{
    dh_state *dh = kem->state;
    int rc = MSSH_ERR_MEMORY;
    int len;
    BIGNUM *y = BN_new();

    if (y == NULL)
        goto out;
    rc = make_exponent(dh);
    if (rc == 0 && BN_mod_exp(y, dh->g, dh->x, dh->p, dh->ctx) != 1)
        rc = MSSH_ERR_MEMORY;
    /* Never happens in a good group; in a bad one it always would, so there is no second try. */
    if (rc == 0 && !is_valid(dh, y))
        rc = MSSH_ERR_PROTOCOL;
    if (rc != 0)
        goto out;
    /* As an mpint: a zero byte in front of a set top bit. */
    len = BN_num_bits(y) / 8 + 1;
    if (BN_bn2binpad(y, public_value->bytes, len) != len)
        rc = MSSH_ERR_MEMORY;
    else
        public_value->len = (size_t)len;
out:
    BN_free(y);
    return rc;
}

/* The content of an mpint in its only form, positive and no longer than p; else NULL. */
static BIGNUM *read_value(const dh_state *dh, mssh_slice bytes)
{
    if (bytes.len == 0 || bytes.len > (size_t)BN_num_bytes(dh->p) + 1 || bytes.data[0] & 0x80)
        return NULL;
    if (bytes.data[0] == 0 && (bytes.len == 1 || !(bytes.data[1] & 0x80)))
        return NULL;
    return BN_bin2bn(bytes.data, (int)bytes.len, NULL);
}

static int derive(mssh_kem *kem, mssh_slice peer, mssh_kem_value *secret)
{
    dh_state *dh = kem->state;
    int rc = MSSH_ERR_PROTOCOL;
    int len = BN_num_bytes(dh->p);
    BIGNUM *value = read_value(dh, peer);
    BIGNUM *shared = BN_secure_new();

    if (shared == NULL) {
        rc = MSSH_ERR_MEMORY;
        goto out;
    }
    if (value == NULL || !is_valid(dh, value))
        goto out;
    if (BN_mod_exp(shared, value, dh->x, dh->p, dh->ctx) != 1) {
        rc = MSSH_ERR_MEMORY;
        goto out;
    }
    /* In a group that is none, or has small subgroups, the secret may come out as a number all can guess. */
    if (BN_is_zero(shared) || BN_is_one(shared) || BN_cmp(shared, dh->limit) == 0)
        goto out;
    if (BN_bn2binpad(shared, secret->bytes, len) != len) {
        rc = MSSH_ERR_MEMORY;
        goto out;
    }
    secret->len = (size_t)len;
    rc = 0;
out:
    BN_free(value);
    BN_clear_free(shared);
    return rc;
}

const mssh_kem_ops mssh_kem_dh_ops = {keypair, derive, NULL, wipe};
