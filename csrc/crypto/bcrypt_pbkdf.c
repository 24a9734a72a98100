#include "crypto/bcrypt_pbkdf.h"

#include "base/error.h"
#include "base/mem.h"
#include "crypto/blowfish.h"
#include "crypto/hash.h"

enum { DIGEST_LEN = 64, DIGEST_WORDS = 16, HASH_LEN = 32, HASH_WORDS = 8, SALT_MAX = 1 << 20 };

static uint32_t load_be(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

/* One block; the two halves are exchanged in each of the 16 rounds, here by their names. */
static void encipher(const mssh_blowfish *state, uint32_t block[2])
{
    uint32_t left = block[0] ^ state->subkeys[0];
    uint32_t right = block[1];

#define ROUND(half, other, i)                                                                                \
    (half) ^= (((state->boxes[0][(other) >> 24] + state->boxes[1][(other) >> 16 & 0xff]) ^                   \
                state->boxes[2][(other) >> 8 & 0xff]) +                                                      \
               state->boxes[3][(other)&0xff]) ^                                                              \
              state->subkeys[i]
    for (size_t i = 1; i <= 16; i += 2) {
        ROUND(right, left, i);
        ROUND(left, right, i + 1);
    }
#undef ROUND
    block[0] = right ^ state->subkeys[17];
    block[1] = left;
}

/* The key schedule: the key goes into the subkeys, then the whole state is replaced by the chain of
 * encryptions of the salt (NULL: of zeros). Both are 16 words, taken round and round. */
static void expand(mssh_blowfish *state, const uint32_t *salt, const uint32_t *key)
{
    uint32_t block[2] = {0, 0};
    uint32_t *boxes = &state->boxes[0][0];
    size_t at = 0;

    for (size_t i = 0; i < 18; i++)
        state->subkeys[i] ^= key[i % DIGEST_WORDS];
    for (size_t i = 0; i < 18 + 1024; i += 2) {
        uint32_t *out = i < 18 ? &state->subkeys[i] : &boxes[i - 18];
        if (salt != NULL) {
            block[0] ^= salt[at];
            block[1] ^= salt[at + 1];
            at = (at + 2) % DIGEST_WORDS;
        }
        encipher(state, block);
        out[0] = block[0];
        out[1] = block[1];
    }
}

/* The bcrypt core over two digests: out[HASH_LEN]. */
static void bcrypt_hash(mssh_blowfish *state, const uint8_t *pass, const uint8_t *salt, uint8_t *out)
{
    static const uint8_t magic[] = "OxychromaticBlowfishSwatDynamite";
    uint32_t pass_words[DIGEST_WORDS], salt_words[DIGEST_WORDS], text[HASH_WORDS];

    for (size_t i = 0; i < DIGEST_WORDS; i++) {
        pass_words[i] = load_be(pass + 4 * i);
        salt_words[i] = load_be(salt + 4 * i);
    }
    *state = mssh_blowfish_pi;
    expand(state, salt_words, pass_words);
    for (int i = 0; i < 64; i++) {
        expand(state, NULL, salt_words);
        expand(state, NULL, pass_words);
    }
    for (size_t i = 0; i < HASH_WORDS; i++)
        text[i] = load_be(magic + 4 * i);
    for (size_t i = 0; i < HASH_WORDS; i += 2)
        for (int times = 0; times < 64; times++)
            encipher(state, text + i);
    for (size_t i = 0; i < HASH_LEN; i++)
        out[i] = (uint8_t)(text[i / 4] >> (8 * (i % 4)));
    mssh_wipe(pass_words, sizeof pass_words);
    mssh_wipe(salt_words, sizeof salt_words);
    mssh_wipe(text, sizeof text);
}

typedef struct work {
    mssh_blowfish state;
    uint8_t pass[DIGEST_LEN];
    uint8_t salt[DIGEST_LEN];
    uint8_t hash[HASH_LEN];
    uint8_t sum[HASH_LEN];
} work;

/* Block number `count` of the output, in w->sum: PBKDF2's F, with bcrypt for the MAC. */
static int derive_block(work *w, mssh_slice salt, uint32_t count, uint32_t rounds)
{
    uint8_t number[4] = {(uint8_t)(count >> 24), (uint8_t)(count >> 16), (uint8_t)(count >> 8),
                         (uint8_t)count};
    mssh_slice parts[2] = {salt, mssh_slice_of(number, sizeof number)};
    mssh_slice last = mssh_slice_of(w->hash, sizeof w->hash);
    int rc = mssh_hash(MSSH_HASH_SHA512, parts, 2, w->salt);

    if (rc != 0)
        return rc;
    bcrypt_hash(&w->state, w->pass, w->salt, w->hash);
    memcpy(w->sum, w->hash, sizeof w->sum);
    for (uint32_t round = 1; round < rounds; round++) {
        rc = mssh_hash(MSSH_HASH_SHA512, &last, 1, w->salt);
        if (rc != 0)
            return rc;
        bcrypt_hash(&w->state, w->pass, w->salt, w->hash);
        for (size_t i = 0; i < HASH_LEN; i++)
            w->sum[i] ^= w->hash[i];
    }
    return 0;
}

int mssh_bcrypt_pbkdf(mssh_slice passphrase, mssh_slice salt, uint32_t rounds, uint8_t *out, size_t len)
{
    size_t n_blocks = (len + HASH_LEN - 1) / HASH_LEN;
    uint8_t key[MSSH_BCRYPT_KEY_MAX];
    work w;
    int rc;

    if (passphrase.len == 0 || salt.len == 0 || salt.len > SALT_MAX || rounds == 0 || len == 0 ||
        len > sizeof key)
        return MSSH_ERR_LIMIT;
    rc = mssh_hash(MSSH_HASH_SHA512, &passphrase, 1, w.pass);
    /* The blocks are dealt out like cards, so that each part of the key needs all of them. */
    for (size_t block = 0; rc == 0 && block < n_blocks; block++) {
        rc = derive_block(&w, salt, (uint32_t)block + 1, rounds);
        for (size_t i = 0; rc == 0 && i < HASH_LEN && i * n_blocks + block < len; i++)
            key[i * n_blocks + block] = w.sum[i];
    }
    if (rc == 0)
        memcpy(out, key, len);
    mssh_wipe(&w, sizeof w);
    mssh_wipe(key, sizeof key);
    return rc;
}
