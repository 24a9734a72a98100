/* DSA as ssh-dss has it (FIPS 186-2): q of 160 bits. For hosts of old alone. */
#include "crypto/pkey_ops.h"

#include "base/error.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>

/* The numbers, in the order of the parts. */
enum { P, Q, G, Y, X, N_NUMBERS };

static const char *const names[] = {
    [P] = OSSL_PKEY_PARAM_FFC_P,   [Q] = OSSL_PKEY_PARAM_FFC_Q,    [G] = OSSL_PKEY_PARAM_FFC_G,
    [Y] = OSSL_PKEY_PARAM_PUB_KEY, [X] = OSSL_PKEY_PARAM_PRIV_KEY,
};

/* Whether 1 < x < limit. */
static bool is_within(const BIGNUM *x, const BIGNUM *limit)
{
    return !BN_is_zero(x) && !BN_is_one(x) && BN_cmp(x, limit) < 0;
}

static bool public_is_sane(BIGNUM *const *numbers)
{
    int bits = BN_num_bits(numbers[P]);

    return bits >= MSSH_PKEY_DSA_MIN_BITS && bits <= MSSH_PKEY_DSA_MAX_BITS && BN_is_odd(numbers[P]) &&
           BN_num_bits(numbers[Q]) == MSSH_PKEY_DSA_Q_BITS && BN_is_odd(numbers[Q]) &&
           is_within(numbers[G], numbers[P]) && is_within(numbers[Y], numbers[P]);
}

/* Whether x is in range and y = g^x mod p. */
static bool matches(BIGNUM *const *numbers)
{
    bool same = false;
    BIGNUM *y = BN_new();
    BN_CTX *ctx = BN_CTX_secure_new();

    BN_set_flags(numbers[X], BN_FLG_CONSTTIME);
    if (y != NULL && ctx != NULL && !BN_is_zero(numbers[X]) && BN_cmp(numbers[X], numbers[Q]) < 0 &&
        BN_mod_exp(y, numbers[G], numbers[X], numbers[P], ctx) == 1)
        same = BN_cmp(y, numbers[Y]) == 0;
    BN_free(y);
    BN_CTX_free(ctx);
    return same;
}

int mssh_pkey_dsa_build(const mssh_pkey_row *row, const mssh_slice *parts, bool with_private, EVP_PKEY **evp)
{
    size_t n_parts = with_private ? row->n_parts : row->n_public;
    BIGNUM *numbers[N_NUMBERS] = {NULL};
    EVP_PKEY *made = NULL;
    int rc = MSSH_ERR_KEY_FORMAT;

    for (size_t i = 0; i < n_parts; i++) {
        numbers[i] = i < X ? BN_new() : BN_secure_new();
        if (numbers[i] == NULL || parts[i].len > MSSH_PKEY_DSA_MAX_BITS / 8 ||
            BN_bin2bn(parts[i].data, (int)parts[i].len, numbers[i]) == NULL)
            goto out;
    }
    if (!public_is_sane(numbers) || (with_private && !matches(numbers)))
        goto out;
    made = mssh_pkey_from_numbers(row->type, names, numbers, n_parts, with_private);
    if (made != NULL) {
        *evp = made;
        rc = 0;
    }
out:
    for (size_t i = 0; i < N_NUMBERS; i++)
        BN_clear_free(numbers[i]);
    return rc;
}

int mssh_pkey_dsa_part(const mssh_pkey_row *row, const EVP_PKEY *evp, size_t i, mssh_buf *bytes)
{
    (void)row;
    return mssh_pkey_append_bn(evp, names[i], 0, bytes);
}
