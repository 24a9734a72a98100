#include "crypto/umac.h"

#include "base/error.h"
#include "base/mem.h"
#include "crypto/cipher.h"

#include <openssl/crypto.h>

enum {
    BLOCK = 16,      /* of AES */
    L1_BLOCK = 1024, /* bytes of a message that the first layer hashes to 8 */
    L1_SHIFT = 16,   /* bytes by which the key of each iteration is further along */
    L2_KEY = 24,     /* bytes of the second layer's key; the last 16 are for longer messages than here */
    L3_WORDS = 8,
    MOST_ROUNDS = 4, /* iterations, each good for 4 bytes of tag */
    NH_ALIGN = 32,
};

static const uint64_t PRIME_36 = (UINT64_C(1) << 36) - 5;
static const uint64_t OFFSET_64 = 59; /* 2^64 - prime */

struct mssh_umac {
    size_t tag_len;
    size_t rounds;
    mssh_cipher *pad_cipher;
    uint32_t l1[L1_BLOCK / 4 + (MOST_ROUNDS - 1) * L1_SHIFT / 4];
    uint64_t l2[MOST_ROUNDS];
    uint64_t l3[MOST_ROUNDS][L3_WORDS];
    uint32_t l3_mask[MOST_ROUNDS];
};

static uint32_t load_be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint64_t load_be64(const uint8_t *bytes)
{
    return (uint64_t)load_be32(bytes) << 32 | load_be32(bytes + 4);
}

static uint32_t load_le32(const uint8_t *bytes)
{
    return (uint32_t)bytes[3] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[1] << 8 | bytes[0];
}

static void store_be32(uint8_t *bytes, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* KDF (3.2.1): AES of the index and a counter, block by block. */
static int derive(mssh_cipher *aes, uint8_t index, uint8_t *out, size_t len)
{
    uint8_t block[BLOCK];
    int r = 0;

    for (size_t at = 0; r == 0 && at < len; at += BLOCK) {
        memset(block, 0, sizeof block);
        block[7] = index;
        store_be32(block + 12, (uint32_t)(at / BLOCK) + 1);
        r = mssh_cipher_apply(aes, block, sizeof block);
        memcpy(out + at, block, len - at < BLOCK ? len - at : BLOCK);
    }
    mssh_wipe(block, sizeof block);
    return r;
}

/* The keys of the three layers (3.2.1 with the indices of 5.1 on). */
static int derive_keys(mssh_umac *umac, mssh_cipher *aes)
{
    uint8_t bytes[sizeof umac->l1] = {0};
    size_t l1_len = L1_BLOCK + (umac->rounds - 1) * L1_SHIFT;
    int r = derive(aes, 1, bytes, l1_len);

    for (size_t i = 0; i < l1_len / 4; i++)
        umac->l1[i] = load_be32(bytes + 4 * i);
    if (r == 0)
        r = derive(aes, 2, bytes, umac->rounds * L2_KEY);
    for (size_t i = 0; i < umac->rounds; i++)
        umac->l2[i] = load_be64(bytes + i * L2_KEY) & UINT64_C(0x01ffffff01ffffff);
    if (r == 0)
        r = derive(aes, 3, bytes, umac->rounds * L3_WORDS * 8);
    for (size_t i = 0; i < umac->rounds * L3_WORDS; i++)
        umac->l3[i / L3_WORDS][i % L3_WORDS] = load_be64(bytes + 8 * i) % PRIME_36;
    if (r == 0)
        r = derive(aes, 4, bytes, umac->rounds * 4);
    for (size_t i = 0; i < umac->rounds; i++)
        umac->l3_mask[i] = load_be32(bytes + 4 * i);
    mssh_wipe(bytes, sizeof bytes);
    return r;
}

mssh_umac *mssh_umac_new(size_t tag_len, const uint8_t *key)
{
    uint8_t pad_key[MSSH_UMAC_KEY_LEN];
    mssh_umac *umac = OPENSSL_zalloc(sizeof *umac);
    mssh_cipher *aes = mssh_cipher_new(MSSH_CIPHER_AES128_ECB, true, key, NULL);
    bool good = false;

    if (umac == NULL || aes == NULL)
        goto out;
    umac->tag_len = tag_len;
    umac->rounds = tag_len / 4;
    if (derive_keys(umac, aes) != 0 || derive(aes, 0, pad_key, sizeof pad_key) != 0)
        goto out;
    umac->pad_cipher = mssh_cipher_new(MSSH_CIPHER_AES128_ECB, true, pad_key, NULL);
    good = umac->pad_cipher != NULL;
out:
    mssh_wipe(pad_key, sizeof pad_key);
    mssh_cipher_free(aes);
    if (!good) {
        mssh_umac_free(umac);
        return NULL;
    }
    return umac;
}

void mssh_umac_free(mssh_umac *umac)
{
    if (umac == NULL)
        return;
    mssh_cipher_free(umac->pad_cipher);
    OPENSSL_clear_free(umac, sizeof *umac);
}

/* NH (5.2.2) of `len` bytes, a multiple of NH_ALIGN. */
static uint64_t nh(const uint32_t *key, const uint8_t *bytes, size_t len)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < len / 4; i += 8) {
        for (size_t j = i; j < i + 4; j++) {
            uint32_t a = load_le32(bytes + 4 * j) + key[j];
            uint32_t b = load_le32(bytes + 4 * (j + 4)) + key[j + 4];
            sum += (uint64_t)a * b;
        }
    }
    return sum;
}

/* The first layer's hash of one block (5.2): what is short is filled up with zeros. */
static uint64_t hash_block(const uint32_t *key, const uint8_t *bytes, size_t len)
{
    uint8_t last[NH_ALIGN] = {0};
    size_t whole = len / NH_ALIGN * NH_ALIGN;
    uint64_t sum = nh(key, bytes, whole) + (uint64_t)len * 8;

    if (whole == len && len > 0)
        return sum;
    if (len > whole)
        memcpy(last, bytes + whole, len - whole);
    return sum + nh(key + whole / 4, last, sizeof last);
}

/* a + b modulo 2^64 - 59, not always below it. */
static uint64_t add(uint64_t a, uint64_t b)
{
    uint64_t sum = a + b;

    if (sum < a) {
        sum += OFFSET_64;
        if (sum < OFFSET_64)
            sum += OFFSET_64;
    }
    return sum;
}

/* y * key + word modulo 2^64 - 59, below it. The key's halves have 25 bits, so that nothing runs over. */
static uint64_t multiply_add(uint64_t y, uint64_t key, uint64_t word)
{
    uint64_t y_high = y >> 32, y_low = y & 0xffffffff;
    uint64_t key_high = key >> 32, key_low = key & 0xffffffff;
    uint64_t middle = y_high * key_low + y_low * key_high;
    uint64_t sum = add(y_high * key_high * OFFSET_64, (middle >> 32) * OFFSET_64);

    sum = add(sum, middle << 32);
    sum = add(sum, y_low * key_low);
    sum = add(sum, word);
    return sum >= 0 - OFFSET_64 ? sum + OFFSET_64 : sum;
}

/* One word more for the second layer's polynomial (5.3.2): words past its range are taken in two steps. */
static uint64_t poly(uint64_t y, uint64_t key, uint64_t word)
{
    const uint64_t prime = 0 - OFFSET_64;

    if (word < UINT64_C(0xffffffff00000000))
        return multiply_add(y, key, word);
    y = multiply_add(y, key, prime - 1);
    return multiply_add(y, key, word - OFFSET_64);
}

/* One iteration of UHASH (5.1): 4 bytes of it. */
static uint32_t uhash(const mssh_umac *umac, size_t round, mssh_slice message)
{
    const uint32_t *key = umac->l1 + round * (L1_SHIFT / 4);
    uint64_t hashed = 0;
    uint64_t sum = 0;

    if (message.len <= L1_BLOCK) {
        hashed = hash_block(key, message.data, message.len);
    } else {
        uint64_t y = 1;
        for (size_t at = 0; at < message.len; at += L1_BLOCK) {
            size_t len = message.len - at < L1_BLOCK ? message.len - at : L1_BLOCK;
            y = poly(y, umac->l2[round], hash_block(key, message.data + at, len));
        }
        hashed = y;
    }
    /* The third layer (5.4): what it takes are 16 bytes, of which the first 8 are zero. */
    for (size_t i = 0; i < 4; i++)
        sum += (hashed >> (48 - 16 * i) & 0xffff) * umac->l3[round][4 + i];
    return (uint32_t)(sum % PRIME_36) ^ umac->l3_mask[round];
}

int mssh_umac_compute(mssh_umac *umac, uint64_t nonce, mssh_slice message, uint8_t *tag)
{
    uint8_t pad[BLOCK] = {0};
    size_t part = umac->tag_len == BLOCK ? 0 : (size_t)(nonce % 2) * umac->tag_len; /* two tags a block */
    uint64_t masked = umac->tag_len == BLOCK ? nonce : nonce & ~UINT64_C(1);
    int r;

    if (message.len > MSSH_UMAC_MESSAGE_MAX)
        return MSSH_ERR_LIMIT;
    store_be32(pad, (uint32_t)(masked >> 32));
    store_be32(pad + 4, (uint32_t)masked);
    r = mssh_cipher_apply(umac->pad_cipher, pad, sizeof pad);
    if (r != 0)
        return r;
    for (size_t i = 0; i < umac->rounds; i++)
        store_be32(tag + 4 * i, uhash(umac, i, message) ^ load_be32(pad + part + 4 * i));
    mssh_wipe(pad, sizeof pad);
    return 0;
}
