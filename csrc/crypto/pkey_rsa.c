/* RSA. */
#include "crypto/pkey_ops.h"

#include "base/error.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>

/* The numbers, in the order of the parts; then the two exponents of the Chinese remainder theorem. */
enum { N, E, D, P, Q, COEFFICIENT, EXPONENT_P, EXPONENT_Q, N_NUMBERS };

static const char *const names[] = {
    [N] = OSSL_PKEY_PARAM_RSA_N,
    [E] = OSSL_PKEY_PARAM_RSA_E,
    [D] = OSSL_PKEY_PARAM_RSA_D,
    [P] = OSSL_PKEY_PARAM_RSA_FACTOR1,
    [Q] = OSSL_PKEY_PARAM_RSA_FACTOR2,
    [COEFFICIENT] = OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
    [EXPONENT_P] = OSSL_PKEY_PARAM_RSA_EXPONENT1,
    [EXPONENT_Q] = OSSL_PKEY_PARAM_RSA_EXPONENT2,
};

static bool public_is_sane(BIGNUM *const *numbers)
{
    int bits = BN_num_bits(numbers[N]);
    int e_bits = BN_num_bits(numbers[E]);

    return bits >= MSSH_PKEY_RSA_MIN_BITS && bits <= MSSH_PKEY_RSA_MAX_BITS && BN_is_odd(numbers[N]) &&
           e_bits >= 2 && e_bits <= 32 && BN_is_odd(numbers[E]);
}

/* exponent = d mod (prime - 1), and whether e inverts it. */
static bool reduce(BIGNUM *const *numbers, const BIGNUM *prime, BIGNUM *exponent, BN_CTX *ctx)
{
    bool inverts = false;
    BIGNUM *order, *product;

    BN_CTX_start(ctx);
    order = BN_CTX_get(ctx);
    product = BN_CTX_get(ctx);
    if (order != NULL && product != NULL && BN_copy(order, prime) != NULL && BN_sub_word(order, 1) == 1 &&
        !BN_is_zero(order) && BN_mod(exponent, numbers[D], order, ctx) == 1 &&
        BN_mod_mul(product, exponent, numbers[E], order, ctx) == 1)
        inverts = BN_is_one(product);
    BN_CTX_end(ctx);
    return inverts;
}

/* Whether the private numbers belong to the public ones; fills in the two exponents. Whether p and q are
 * prime is not asked: that costs too much, and a file that lies about it hurts its owner alone. */
static bool complete(BIGNUM *const *numbers)
{
    bool good = false;
    BIGNUM *product;
    BN_CTX *ctx = BN_CTX_secure_new();

    if (ctx == NULL)
        return false;
    BN_CTX_start(ctx);
    product = BN_CTX_get(ctx);
    if (product == NULL || !BN_is_odd(numbers[P]) || !BN_is_odd(numbers[Q]) || BN_is_one(numbers[P]) ||
        BN_is_one(numbers[Q]) || BN_cmp(numbers[D], numbers[N]) >= 0 ||
        BN_cmp(numbers[COEFFICIENT], numbers[P]) >= 0)
        goto out;
    if (BN_mul(product, numbers[P], numbers[Q], ctx) != 1 || BN_cmp(product, numbers[N]) != 0)
        goto out;
    if (BN_mod_mul(product, numbers[COEFFICIENT], numbers[Q], numbers[P], ctx) != 1 || !BN_is_one(product))
        goto out;
    good = reduce(numbers, numbers[P], numbers[EXPONENT_P], ctx) &&
           reduce(numbers, numbers[Q], numbers[EXPONENT_Q], ctx);
out:
    BN_CTX_end(ctx);
    BN_CTX_free(ctx);
    return good;
}

/* Reads the parts into new numbers; the caller frees what is there, also on failure. */
static bool read_numbers(const mssh_slice *parts, size_t n_parts, BIGNUM **numbers)
{
    for (size_t i = 0; i < N_NUMBERS; i++) {
        numbers[i] = i <= E ? BN_new() : BN_secure_new();
        if (numbers[i] == NULL)
            return false;
        if (i > E)
            BN_set_flags(numbers[i], BN_FLG_CONSTTIME);
        if (i < n_parts && (parts[i].len > MSSH_PKEY_RSA_MAX_BITS / 8 ||
                            BN_bin2bn(parts[i].data, (int)parts[i].len, numbers[i]) == NULL))
            return false;
    }
    return true;
}

int mssh_pkey_rsa_build(const mssh_pkey_row *row, const mssh_slice *parts, bool with_private, EVP_PKEY **evp)
{
    BIGNUM *numbers[N_NUMBERS] = {NULL};
    EVP_PKEY *made = NULL;
    int rc = MSSH_ERR_KEY_FORMAT;

    if (!read_numbers(parts, with_private ? row->n_parts : row->n_public, numbers) ||
        !public_is_sane(numbers) || (with_private && !complete(numbers)))
        goto out;
    made = mssh_pkey_from_numbers(row->type, names, numbers, with_private ? (size_t)N_NUMBERS : row->n_public,
                                  with_private);
    if (made != NULL) {
        *evp = made;
        rc = 0;
    }
out:
    for (size_t i = 0; i < N_NUMBERS; i++)
        BN_clear_free(numbers[i]);
    return rc;
}

int mssh_pkey_rsa_part(const mssh_pkey_row *row, const EVP_PKEY *evp, size_t i, mssh_buf *bytes)
{
    (void)row;
    return mssh_pkey_append_bn(evp, names[i], 0, bytes);
}
