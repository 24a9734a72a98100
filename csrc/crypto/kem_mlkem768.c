/* ML-KEM-768 (FIPS 203). The algorithm numbers are the standard's. */
#include "crypto/kem_pq.h"

#include "base/error.h"
#include "crypto/keccak.h"
#include "crypto/rand.h"

#include <openssl/crypto.h>

enum {
    Q = 3329,
    N = 256,
    K = 3,
    HALF_INVERSE = 3303, /* 128^-1 mod q */
    POLY_LEN = 384,      /* encoded with 12 bits a coefficient */
    U_LEN = 320,         /* with 10 */
    V_LEN = 128,         /* with 4 */
    RHO_AT = K * POLY_LEN,
    NOISE_LEN = 128, /* what the noise with eta = 2 is made of */
};

/* Coefficients, each below q. */
typedef struct poly {
    uint16_t at[N];
} poly;

typedef struct private_key {
    poly s[K]; /* in the NTT domain */
    uint8_t public_value[MSSH_MLKEM_PUBLIC_LEN];
    uint8_t public_hash[32]; /* H(ek) */
    uint8_t z[32];           /* makes the secret of a ciphertext that is rejected */
} private_key;

/* Where encryption works: all of it is secret, and wiped with the block. */
typedef struct work {
    mssh_keccak *keccak;
    poly t[K];
    poly y[K];
    poly noise;
    poly sum;
    poly cell;
    uint8_t bytes[NOISE_LEN];
    uint8_t derived[64];                           /* K, then r */
    uint8_t ciphertext[MSSH_MLKEM_CIPHERTEXT_LEN]; /* made again to compare */
    uint8_t message[32];
    uint8_t rejected[32];
} work;

/* 17^BitRev7(i) mod q */
static const uint16_t zetas[128] = {
    /* clang-format off */
    1, 1729, 2580, 3289, 2642, 630, 1897, 848, 1062, 1919, 193, 797, 2786, 3260, 569, 1746,
    296, 2447, 1339, 1476, 3046, 56, 2240, 1333, 1426, 2094, 535, 2882, 2393, 2879, 1974, 821,
    289, 331, 3253, 1756, 1197, 2304, 2277, 2055, 650, 1977, 2513, 632, 2865, 33, 1320, 1915,
    2319, 1435, 807, 452, 1438, 2868, 1534, 2402, 2647, 2617, 1481, 648, 2474, 3110, 1227, 910,
    17, 2761, 583, 2649, 1637, 723, 2288, 1100, 1409, 2662, 3281, 233, 756, 2156, 3015, 3050,
    1703, 1651, 2789, 1789, 1847, 952, 1461, 2687, 939, 2308, 2437, 2388, 733, 2337, 268, 641,
    1584, 2298, 2037, 3220, 375, 2549, 2090, 1645, 1063, 319, 2773, 757, 2099, 561, 2466, 2594,
    2804, 1092, 403, 1026, 1143, 2150, 2775, 886, 1722, 1212, 1874, 1029, 2110, 2935, 885, 2154,
    /* clang-format on */
};

/* --- arithmetic modulo q */

/* x mod q for x < 2q, without a branch. */
static uint16_t reduce_once(uint32_t x)
{
    uint32_t below = x - Q; /* wraps around, and so has its top bit set, when x < q */
    return (uint16_t)(below + (Q & (0U - (below >> 31))));
}

static uint16_t add(uint16_t a, uint16_t b)
{
    return reduce_once((uint32_t)a + b);
}

static uint16_t subtract(uint16_t a, uint16_t b)
{
    return reduce_once((uint32_t)a + Q - b);
}

/* x mod q for x < 2^25: the quotient by multiplication (5039 is 2^24 / q, rounded down), at most one too
 * small. */
static uint16_t reduce(uint32_t x)
{
    uint32_t quotient = (uint32_t)(((uint64_t)x * 5039) >> 24);
    return reduce_once(x - quotient * Q);
}

static uint16_t multiply(uint16_t a, uint16_t b)
{
    return reduce((uint32_t)a * b);
}

/* Compress (4.7): x * 2^bits / q, rounded, modulo 2^bits. A division would take a time that depends on x;
 * 20642679 is 2^36 / q, rounded up, and exact for all that comes here. */
static uint16_t compress(uint16_t x, unsigned bits)
{
    uint64_t scaled = ((uint64_t)x << bits) + Q / 2;
    return (uint16_t)(((scaled * 20642679) >> 36) & ((1U << bits) - 1));
}

/* Decompress (4.8). */
static uint16_t decompress(uint16_t y, unsigned bits)
{
    return (uint16_t)(((uint32_t)y * Q + (1U << (bits - 1))) >> bits);
}

/* --- polynomials */

static void poly_add(poly *a, const poly *b)
{
    for (int i = 0; i < N; i++)
        a->at[i] = add(a->at[i], b->at[i]);
}

/* Algorithm 9. */
static void ntt(poly *f)
{
    size_t next = 1;

    for (size_t len = N / 2; len >= 2; len /= 2) {
        for (size_t start = 0; start < N; start += 2 * len) {
            uint16_t zeta = zetas[next++];
            for (size_t j = start; j < start + len; j++) {
                uint16_t t = multiply(zeta, f->at[j + len]);
                f->at[j + len] = subtract(f->at[j], t);
                f->at[j] = add(f->at[j], t);
            }
        }
    }
}

/* Algorithm 10. */
static void inverse_ntt(poly *f)
{
    size_t next = 127;

    for (size_t len = 2; len <= N / 2; len *= 2) {
        for (size_t start = 0; start < N; start += 2 * len) {
            uint16_t zeta = zetas[next--];
            for (size_t j = start; j < start + len; j++) {
                uint16_t t = f->at[j];
                f->at[j] = add(t, f->at[j + len]);
                f->at[j + len] = multiply(zeta, subtract(f->at[j + len], t));
            }
        }
    }
    for (int i = 0; i < N; i++)
        f->at[i] = multiply(f->at[i], HALF_INVERSE);
}

/* Algorithms 11 and 12: adds the product of two polynomials of the NTT domain. */
static void add_product(poly *sum, const poly *a, const poly *b)
{
    for (size_t i = 0; i < N / 2; i++) {
        uint16_t a0 = a->at[2 * i], a1 = a->at[2 * i + 1];
        uint16_t b0 = b->at[2 * i], b1 = b->at[2 * i + 1];
        uint16_t gamma = zetas[64 + i / 2];
        uint16_t c0 = multiply(multiply(a1, b1), i % 2 == 0 ? gamma : (uint16_t)(Q - gamma));
        uint32_t c1 = (uint32_t)a0 * b1 + (uint32_t)a1 * b0;

        sum->at[2 * i] = add(sum->at[2 * i], add(c0, multiply(a0, b0)));
        sum->at[2 * i + 1] = add(sum->at[2 * i + 1], reduce(c1));
    }
}

/* ByteEncode (algorithm 5). */
static void encode(const poly *f, unsigned bits, uint8_t *out)
{
    uint32_t held = 0;
    unsigned n_held = 0;

    for (int i = 0; i < N; i++) {
        held |= (uint32_t)f->at[i] << n_held;
        for (n_held += bits; n_held >= 8; n_held -= 8) {
            *out++ = (uint8_t)held;
            held >>= 8;
        }
    }
}

/* ByteDecode (algorithm 6), without the reduction for 12 bits: see is_canonical. */
static void decode(const uint8_t *bytes, unsigned bits, poly *f)
{
    uint32_t held = 0;
    unsigned n_held = 0;

    for (int i = 0; i < N; i++) {
        for (; n_held < bits; n_held += 8)
            held |= (uint32_t)*bytes++ << n_held;
        f->at[i] = (uint16_t)(held & ((1U << bits) - 1));
        held >>= bits;
        n_held -= bits;
    }
}

static void encode_compressed(const poly *f, unsigned bits, poly *scratch, uint8_t *out)
{
    for (int i = 0; i < N; i++)
        scratch->at[i] = compress(f->at[i], bits);
    encode(scratch, bits, out);
}

static void decode_compressed(const uint8_t *bytes, unsigned bits, poly *f)
{
    decode(bytes, bits, f);
    for (int i = 0; i < N; i++)
        f->at[i] = decompress(f->at[i], bits);
}

/* --- sampling */

/* One try at SampleNTT with three bytes for every two candidates: how many coefficients came of it. */
static size_t take_below_q(const uint8_t *bytes, size_t len, poly *f)
{
    size_t n = 0;

    for (size_t i = 0; i + 3 <= len && n < N; i += 3) {
        uint16_t first = (uint16_t)(bytes[i] | (bytes[i + 1] & 15) << 8);
        uint16_t second = (uint16_t)(bytes[i + 1] >> 4 | bytes[i + 2] << 4);
        if (first < Q)
            f->at[n++] = first;
        if (second < Q && n < N)
            f->at[n++] = second;
    }
    return n;
}

/* SampleNTT (algorithm 7): the cell of the matrix A in a row and a column. All of it is public. */
static int sample_cell(mssh_keccak *keccak, const uint8_t *rho, const uint8_t place[2], poly *f)
{
    /* Three blocks of SHAKE128 do in 99 cases of a hundred; the stream cannot be continued, so that a longer
     * one begins anew. Twelve are never too little. */
    static const size_t lengths[] = {3 * 168, 12 * 168};
    uint8_t stream[12 * 168];
    mssh_slice parts[2] = {mssh_slice_of(rho, 32), mssh_slice_of(place, 2)};

    for (size_t i = 0; i < 2; i++) {
        int r = mssh_keccak_hash(keccak, MSSH_SHAKE128, parts, stream, lengths[i]);
        if (r != 0)
            return r;
        if (take_below_q(stream, lengths[i], f) == N)
            return 0;
    }
    return MSSH_ERR_UNSUPPORTED;
}

/* SamplePolyCBD with eta = 2 (algorithm 8) of PRF(seed, nonce). */
static int sample_noise(work *w, const uint8_t *seed, uint8_t nonce, poly *f)
{
    mssh_slice parts[2] = {mssh_slice_of(seed, 32), mssh_slice_of(&nonce, 1)};
    int r = mssh_keccak_hash(w->keccak, MSSH_SHAKE256, parts, w->bytes, sizeof w->bytes);

    for (size_t i = 0; r == 0 && i < N; i++) {
        unsigned bits = (unsigned)(w->bytes[i / 2] >> (i % 2 * 4));
        unsigned x = (bits & 1) + (bits >> 1 & 1);
        unsigned y = (bits >> 2 & 1) + (bits >> 3 & 1);
        f->at[i] = reduce_once(x + Q - y);
    }
    return r;
}

/* --- the scheme */

static work *work_new(mssh_mem *mem)
{
    work *w = mssh_alloc(mem, sizeof *w);

    if (w == NULL)
        return NULL;
    w->keccak = mssh_keccak_new();
    if (w->keccak == NULL) {
        mssh_free(mem, w, sizeof *w);
        return NULL;
    }
    return w;
}

static void work_free(mssh_mem *mem, work *w)
{
    if (w == NULL)
        return;
    mssh_keccak_free(w->keccak);
    mssh_free(mem, w, sizeof *w);
}

static void free_key(mssh_mem *mem, void *key)
{
    if (key != NULL)
        mssh_free(mem, key, sizeof(private_key));
}

/* K-PKE.KeyGen (algorithm 13) of d: fills in s and the public value. */
static int generate(work *w, const uint8_t *d, private_key *key)
{
    static const uint8_t rank = K;
    mssh_slice parts[2] = {mssh_slice_of(d, 32), mssh_slice_of(&rank, 1)};
    const uint8_t *rho = w->derived;
    const uint8_t *sigma = w->derived + 32;
    int r = mssh_keccak_hash(w->keccak, MSSH_SHA3_512, parts, w->derived, 64);

    for (uint8_t i = 0; r == 0 && i < K; i++) {
        r = sample_noise(w, sigma, i, &key->s[i]);
        ntt(&key->s[i]);
    }
    for (uint8_t i = 0; r == 0 && i < K; i++) {
        r = sample_noise(w, sigma, (uint8_t)(K + i), &w->sum);
        ntt(&w->sum);
        for (uint8_t j = 0; r == 0 && j < K; j++) {
            const uint8_t place[2] = {j, i};
            r = sample_cell(w->keccak, rho, place, &w->cell);
            add_product(&w->sum, &w->cell, &key->s[j]);
        }
        encode(&w->sum, 12, key->public_value + (size_t)i * POLY_LEN);
    }
    memcpy(key->public_value + RHO_AT, rho, 32);
    return r;
}

int mssh_mlkem768_keypair_from(mssh_mem *mem, const uint8_t *seed, void **key, uint8_t *public_value)
{
    work *w = work_new(mem);
    private_key *made = mssh_alloc(mem, sizeof *made);
    int r = w != NULL && made != NULL ? 0 : MSSH_ERR_MEMORY;

    if (r == 0)
        r = generate(w, seed, made);
    if (r == 0) {
        mssh_slice parts[2] = {mssh_slice_of(made->public_value, MSSH_MLKEM_PUBLIC_LEN), MSSH_SLICE_EMPTY};
        r = mssh_keccak_hash(w->keccak, MSSH_SHA3_256, parts, made->public_hash, 32);
    }
    work_free(mem, w);
    if (r != 0) {
        free_key(mem, made);
        return r;
    }
    memcpy(made->z, seed + 32, 32);
    memcpy(public_value, made->public_value, MSSH_MLKEM_PUBLIC_LEN);
    *key = made;
    return 0;
}

/* K-PKE.Encrypt (algorithm 14) of a message with the coins r, under w->t and rho. */
static int encrypt(work *w, const uint8_t *rho, const uint8_t *message, uint8_t *ciphertext)
{
    const uint8_t *coins = w->derived + 32;
    int r = 0;

    for (uint8_t i = 0; r == 0 && i < K; i++) {
        r = sample_noise(w, coins, i, &w->y[i]);
        ntt(&w->y[i]);
    }
    for (uint8_t i = 0; r == 0 && i < K; i++) {
        memset(&w->sum, 0, sizeof w->sum);
        for (uint8_t j = 0; r == 0 && j < K; j++) {
            const uint8_t place[2] = {i, j};
            r = sample_cell(w->keccak, rho, place, &w->cell);
            add_product(&w->sum, &w->cell, &w->y[j]);
        }
        inverse_ntt(&w->sum);
        if (r == 0)
            r = sample_noise(w, coins, (uint8_t)(K + i), &w->noise);
        poly_add(&w->sum, &w->noise);
        encode_compressed(&w->sum, 10, &w->cell, ciphertext + (size_t)i * U_LEN);
    }
    if (r == 0)
        r = sample_noise(w, coins, 2 * K, &w->noise);
    memset(&w->sum, 0, sizeof w->sum);
    for (size_t i = 0; i < K; i++)
        add_product(&w->sum, &w->t[i], &w->y[i]);
    inverse_ntt(&w->sum);
    poly_add(&w->sum, &w->noise);
    decode_compressed(message, 1, &w->noise);
    poly_add(&w->sum, &w->noise);
    encode_compressed(&w->sum, 4, &w->cell, ciphertext + (size_t)K * U_LEN);
    return r;
}

/* Whether each coefficient of an encapsulation key is below q (7.2, the modulus check), and the polynomials.
 */
static bool read_public(const uint8_t *public_value, poly *t)
{
    bool canonical = true;

    for (size_t i = 0; i < K; i++) {
        decode(public_value + i * POLY_LEN, 12, &t[i]);
        for (size_t j = 0; j < N; j++)
            canonical = canonical && t[i].at[j] < Q;
    }
    return canonical;
}

int mssh_mlkem768_encapsulate_from(mssh_mem *mem, const uint8_t *public_value, const uint8_t *message,
                                   uint8_t *ciphertext, uint8_t *secret)
{
    mssh_slice key_parts[2] = {mssh_slice_of(public_value, MSSH_MLKEM_PUBLIC_LEN), MSSH_SLICE_EMPTY};
    mssh_slice parts[2];
    work *w = work_new(mem);
    int r;

    if (w == NULL)
        return MSSH_ERR_MEMORY;
    parts[0] = mssh_slice_of(message, 32);
    parts[1] = mssh_slice_of(w->bytes, 32);
    r = read_public(public_value, w->t) ? 0 : MSSH_ERR_PROTOCOL;
    if (r == 0)
        r = mssh_keccak_hash(w->keccak, MSSH_SHA3_256, key_parts, w->bytes, 32);
    if (r == 0)
        r = mssh_keccak_hash(w->keccak, MSSH_SHA3_512, parts, w->derived, 64);
    if (r == 0)
        r = encrypt(w, public_value + RHO_AT, message, w->ciphertext);
    if (r == 0) {
        memcpy(ciphertext, w->ciphertext, MSSH_MLKEM_CIPHERTEXT_LEN);
        memcpy(secret, w->derived, MSSH_PQ_SECRET_LEN);
    }
    work_free(mem, w);
    return r;
}

/* K-PKE.Decrypt (algorithm 15) to w->message. */
static void decrypt(work *w, const private_key *key, const uint8_t *ciphertext)
{
    memset(&w->sum, 0, sizeof w->sum);
    for (size_t i = 0; i < K; i++) {
        decode_compressed(ciphertext + i * U_LEN, 10, &w->cell);
        ntt(&w->cell);
        add_product(&w->sum, &w->cell, &key->s[i]);
    }
    inverse_ntt(&w->sum);
    decode_compressed(ciphertext + (size_t)K * U_LEN, 4, &w->noise);
    for (size_t i = 0; i < N; i++)
        w->noise.at[i] = subtract(w->noise.at[i], w->sum.at[i]);
    encode_compressed(&w->noise, 1, &w->cell, w->message);
}

/* 0xff when the blocks differ, else 0, without a branch. */
static uint8_t differ(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < len; i++)
        bits |= (uint32_t)(a[i] ^ b[i]);
    return (uint8_t)((0U - bits) >> 24);
}

/* ML-KEM.Decaps_internal (algorithm 18). */
static int decapsulate(mssh_mem *mem, const void *private_half, const uint8_t *ciphertext, uint8_t *secret)
{
    const private_key *key = private_half;
    mssh_slice reject_parts[2] = {mssh_slice_of(key->z, 32),
                                  mssh_slice_of(ciphertext, MSSH_MLKEM_CIPHERTEXT_LEN)};
    mssh_slice parts[2];
    work *w = work_new(mem);
    int r;

    if (w == NULL)
        return MSSH_ERR_MEMORY;
    decrypt(w, key, ciphertext);
    parts[0] = mssh_slice_of(w->message, 32);
    parts[1] = mssh_slice_of(key->public_hash, 32);
    r = mssh_keccak_hash(w->keccak, MSSH_SHA3_512, parts, w->derived, 64);
    if (r == 0)
        r = mssh_keccak_hash(w->keccak, MSSH_SHAKE256, reject_parts, w->rejected, 32);
    (void)read_public(key->public_value, w->t);
    if (r == 0)
        r = encrypt(w, key->public_value + RHO_AT, w->message, w->ciphertext);
    if (r == 0) {
        uint8_t bad = differ(w->ciphertext, ciphertext, MSSH_MLKEM_CIPHERTEXT_LEN);
        for (size_t i = 0; i < MSSH_PQ_SECRET_LEN; i++)
            secret[i] = (uint8_t)(w->derived[i] ^ (bad & (w->derived[i] ^ w->rejected[i])));
    }
    work_free(mem, w);
    return r;
}

static int keypair(mssh_mem *mem, void **key, uint8_t *public_value)
{
    uint8_t seed[MSSH_MLKEM_SEED_LEN];
    int r = mssh_rand_bytes(seed, sizeof seed);

    if (r == 0)
        r = mssh_mlkem768_keypair_from(mem, seed, key, public_value);
    mssh_wipe(seed, sizeof seed);
    return r;
}

static int encapsulate(mssh_mem *mem, const uint8_t *public_value, uint8_t *ciphertext, uint8_t *secret)
{
    uint8_t message[32];
    int r = mssh_rand_bytes(message, sizeof message);

    if (r == 0)
        r = mssh_mlkem768_encapsulate_from(mem, public_value, message, ciphertext, secret);
    mssh_wipe(message, sizeof message);
    return r;
}

const mssh_pq_ops mssh_mlkem768_own_ops = {
    MSSH_MLKEM_PUBLIC_LEN, MSSH_MLKEM_CIPHERTEXT_LEN, keypair, encapsulate, decapsulate, free_key};
