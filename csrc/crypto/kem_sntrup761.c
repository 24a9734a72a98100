/* sntrup761, the KEM (draft-ietf-sshm-ntruprime-ssh; NTRU Prime, round 3). */
#include "crypto/kem_pq.h"

#include "base/error.h"
#include "crypto/hash.h"
#include "crypto/rand.h"
#include "crypto/sntrup761.h"

enum {
    P = MSSH_SNTRUP_P,
    W = MSSH_SNTRUP_W,
    HASH_LEN = 32,
    /* What the hashes of the scheme begin with. */
    TAG_REJECTED = 0,
    TAG_SESSION = 1,
    TAG_CONFIRM = 2,
    TAG_SMALL = 3,
    TAG_PUBLIC = 4,
};

typedef struct private_key {
    mssh_sntrup_poly f;
    mssh_sntrup_poly g_inverse;
    mssh_sntrup_poly h;                 /* the public key */
    uint8_t rho[MSSH_SNTRUP_SMALL_LEN]; /* stands for the input of a ciphertext that is rejected */
    uint8_t public_hash[HASH_LEN];
} private_key;

/* Where the operations work: all of it is secret, and wiped with the block. */
typedef struct work {
    mssh_sntrup_room room;
    mssh_sntrup_poly a, b, c;
    uint32_t random[P];
    uint8_t packed[MSSH_SNTRUP_SMALL_LEN];
    uint8_t packed_hash[HASH_LEN];
    uint8_t ciphertext[MSSH_SNTRUP_CIPHERTEXT_LEN];
} work;

/* The first half of SHA-512 of a tag and two views. */
static int hash(uint8_t tag, mssh_slice first, mssh_slice second, uint8_t *out)
{
    uint8_t digest[MSSH_HASH_MAX];
    mssh_slice parts[3] = {mssh_slice_of(&tag, 1), first, second};
    int r = mssh_hash(MSSH_HASH_SHA512, parts, 3, digest);

    if (r == 0)
        memcpy(out, digest, HASH_LEN);
    mssh_wipe(digest, sizeof digest);
    return r;
}

/* --- random polynomials */

static int fill_random(work *w)
{
    return mssh_rand_bytes((uint8_t *)w->random, sizeof w->random);
}

/* Coefficients -1, 0, 1, each as likely. */
static int make_small(work *w, mssh_sntrup_poly *a)
{
    int r = fill_random(w);

    for (size_t i = 0; i < P; i++)
        a->at[i] = (int16_t)((int32_t)(((w->random[i] & 0x3fffffff) * 3) >> 30) - 1);
    return r;
}

/* Puts two numbers in order without a branch. */
static void order(uint32_t *a, uint32_t *b)
{
    uint64_t difference = (uint64_t)*b - *a;
    uint32_t swap = (uint32_t)(difference >> 32) & (*a ^ *b); /* b < a: the borrow fills the upper half */

    *a ^= swap;
    *b ^= swap;
}

/* Sorts by merge exchange (Knuth, volume 3, 5.2.2, algorithm M): what is compared with what does not depend
 * on the numbers. */
static void sort(uint32_t *x, size_t n)
{
    size_t top = 1;

    while (2 * top < n)
        top *= 2;
    for (size_t p = top; p > 0; p /= 2) {
        size_t d = p;
        size_t r = 0;
        for (size_t q = top; q >= p; q /= 2) {
            for (size_t i = 0; i + d < n; i++)
                if ((i & p) == r)
                    order(&x[i], &x[i + d]);
            d = q - p;
            r = p;
        }
    }
}

/* Exactly W coefficients that are -1 or 1, at places that sorting random numbers has given them. */
static int make_short(work *w, mssh_sntrup_poly *a)
{
    int r = fill_random(w);

    for (size_t i = 0; i < W; i++)
        w->random[i] &= ~UINT32_C(1);
    for (size_t i = W; i < P; i++)
        w->random[i] = (w->random[i] & ~UINT32_C(3)) | 1;
    sort(w->random, P);
    for (size_t i = 0; i < P; i++)
        a->at[i] = (int16_t)((int32_t)(w->random[i] & 3) - 1);
    return r;
}

/* --- the scheme */

/* The ciphertext of the short polynomial a, into w->ciphertext. Leaves its packed form and that one's hash
 * in w. */
static int hide(work *w, const mssh_sntrup_poly *a, const mssh_sntrup_poly *h, const uint8_t *public_hash)
{
    int r;

    mssh_sntrup_pack_small(a, w->packed);
    mssh_sntrup_multiply_q(h, a, &w->room, &w->c);
    mssh_sntrup_round(&w->c);
    mssh_sntrup_pack_rounded(&w->c, w->ciphertext);
    r = hash(TAG_SMALL, mssh_slice_of(w->packed, sizeof w->packed), MSSH_SLICE_EMPTY, w->packed_hash);
    if (r == 0)
        r = hash(TAG_CONFIRM, mssh_slice_of(w->packed_hash, HASH_LEN), mssh_slice_of(public_hash, HASH_LEN),
                 w->ciphertext + MSSH_SNTRUP_ROUNDED_LEN);
    return r;
}

/* Until a polynomial has an inverse: nothing about it is told by those that had none. */
static int make_invertible(work *w, mssh_sntrup_poly *inverse)
{
    int r = 0;
    bool found = false;

    while (r == 0 && !found) {
        r = make_small(w, &w->a);
        if (r == 0)
            found = mssh_sntrup_invert_3(&w->a, &w->room, inverse);
    }
    return r;
}

static int generate(work *w, private_key *key, uint8_t *public_value)
{
    int r = make_invertible(w, &key->g_inverse);

    if (r == 0)
        r = make_short(w, &key->f);
    if (r == 0)
        r = mssh_rand_bytes(key->rho, sizeof key->rho);
    if (r != 0)
        return r;
    mssh_sntrup_invert_3q(&key->f, &w->room, &w->b);
    mssh_sntrup_multiply_q(&w->b, &w->a, &w->room, &key->h);
    mssh_sntrup_pack_q(&key->h, public_value);
    return hash(TAG_PUBLIC, mssh_slice_of(public_value, MSSH_SNTRUP_PUBLIC_LEN), MSSH_SLICE_EMPTY,
                key->public_hash);
}

static int keypair(mssh_mem *mem, void **key, uint8_t *public_value)
{
    uint8_t packed[MSSH_SNTRUP_PUBLIC_LEN];
    work *w = mssh_alloc(mem, sizeof *w);
    private_key *made = mssh_alloc(mem, sizeof *made);
    int r = w != NULL && made != NULL ? generate(w, made, packed) : MSSH_ERR_MEMORY;

    mssh_free(mem, w, sizeof *w);
    if (r != 0) {
        mssh_free(mem, made, sizeof *made);
        return r;
    }
    memcpy(public_value, packed, sizeof packed);
    *key = made;
    return 0;
}

static int encapsulate(mssh_mem *mem, const uint8_t *public_value, uint8_t *ciphertext, uint8_t *secret)
{
    uint8_t public_hash[HASH_LEN];
    work *w = mssh_alloc(mem, sizeof *w);
    int r;

    if (w == NULL)
        return MSSH_ERR_MEMORY;
    mssh_sntrup_unpack_q(public_value, &w->b);
    r = hash(TAG_PUBLIC, mssh_slice_of(public_value, MSSH_SNTRUP_PUBLIC_LEN), MSSH_SLICE_EMPTY, public_hash);
    if (r == 0)
        r = make_short(w, &w->a);
    if (r == 0)
        r = hide(w, &w->a, &w->b, public_hash);
    if (r == 0)
        r = hash(TAG_SESSION, mssh_slice_of(w->packed_hash, HASH_LEN),
                 mssh_slice_of(w->ciphertext, sizeof w->ciphertext), secret);
    if (r == 0)
        memcpy(ciphertext, w->ciphertext, sizeof w->ciphertext);
    mssh_free(mem, w, sizeof *w);
    return r;
}

/* -1 when x is not 0, else 0. */
static int32_t nonzero(int32_t x)
{
    return -(int32_t)(((uint32_t)x | (0U - (uint32_t)x)) >> 31);
}

/* The short polynomial that a ciphertext hides, into w->a; one fixed polynomial when it hides none. */
static void reveal(work *w, const private_key *key, const uint8_t *ciphertext)
{
    int32_t weight = 0;
    int32_t wrong;

    mssh_sntrup_unpack_rounded(ciphertext, &w->c);
    mssh_sntrup_multiply_q(&w->c, &key->f, &w->room, &w->b);
    for (size_t i = 0; i < P; i++)
        w->b.at[i] = mssh_sntrup_mod_3(mssh_sntrup_mod_q(3 * w->b.at[i]));
    mssh_sntrup_multiply_3(&w->b, &key->g_inverse, &w->room, &w->a);
    for (size_t i = 0; i < P; i++)
        weight += w->a.at[i] & 1;
    wrong = nonzero(weight - W);
    for (size_t i = 0; i < P; i++) {
        int32_t fixed = i < W ? 1 : 0;
        w->a.at[i] = (int16_t)(w->a.at[i] ^ ((w->a.at[i] ^ fixed) & wrong));
    }
}

static int decapsulate(mssh_mem *mem, const void *private_half, const uint8_t *ciphertext, uint8_t *secret)
{
    const private_key *key = private_half;
    work *w = mssh_alloc(mem, sizeof *w);
    int32_t differences = 0;
    uint8_t bad;
    int r;

    if (w == NULL)
        return MSSH_ERR_MEMORY;
    reveal(w, key, ciphertext);
    r = hide(w, &w->a, &key->h, key->public_hash);
    for (size_t i = 0; i < sizeof w->ciphertext; i++)
        differences |= w->ciphertext[i] ^ ciphertext[i];
    bad = (uint8_t)nonzero(differences);
    for (size_t i = 0; i < sizeof w->packed; i++)
        w->packed[i] = (uint8_t)(w->packed[i] ^ (bad & (w->packed[i] ^ key->rho[i])));
    if (r == 0)
        r = hash(TAG_SMALL, mssh_slice_of(w->packed, sizeof w->packed), MSSH_SLICE_EMPTY, w->packed_hash);
    if (r == 0)
        r = hash((uint8_t)(TAG_SESSION & ~bad), mssh_slice_of(w->packed_hash, HASH_LEN),
                 mssh_slice_of(ciphertext, MSSH_SNTRUP_CIPHERTEXT_LEN), secret);
    mssh_free(mem, w, sizeof *w);
    return r;
}

static void free_key(mssh_mem *mem, void *key)
{
    if (key != NULL)
        mssh_free(mem, key, sizeof(private_key));
}

const mssh_pq_ops mssh_sntrup761_ops = {
    MSSH_SNTRUP_PUBLIC_LEN, MSSH_SNTRUP_CIPHERTEXT_LEN, keypair, encapsulate, decapsulate, free_key};
