#include "crypto/blake2b.h"

#include "base/mem.h"

enum { BLOCK = 128, ROUNDS = 12 };

typedef struct state {
    uint64_t chain[8];
    uint64_t counted; /* bytes; 2^64 of them never come */
    uint8_t block[BLOCK];
    size_t held;
} state;

static const uint64_t iv[8] = {
    UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b), UINT64_C(0x3c6ef372fe94f82b),
    UINT64_C(0xa54ff53a5f1d36f1), UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f),
    UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179),
};

/* RFC 7693 2.7: the order in which each round takes the words of the block. */
static const uint8_t orders[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word >> bits | word << (64 - bits);
}

static uint64_t load(const uint8_t *bytes)
{
    uint64_t word = 0;

    for (int i = 7; i >= 0; i--)
        word = word << 8 | bytes[i];
    return word;
}

static void mix(uint64_t *v, const uint8_t *at, uint64_t x, uint64_t y)
{
    uint64_t *a = &v[at[0]], *b = &v[at[1]], *c = &v[at[2]], *d = &v[at[3]];

    *a += *b + x;
    *d = rotate(*d ^ *a, 32);
    *c += *d;
    *b = rotate(*b ^ *c, 24);
    *a += *b + y;
    *d = rotate(*d ^ *a, 16);
    *c += *d;
    *b = rotate(*b ^ *c, 63);
}

static void compress(state *self, bool last)
{
    /* The columns, then the diagonals. */
    static const uint8_t places[8][4] = {{0, 4, 8, 12},  {1, 5, 9, 13},  {2, 6, 10, 14}, {3, 7, 11, 15},
                                         {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13},  {3, 4, 9, 14}};
    uint64_t v[16], words[16];

    for (size_t i = 0; i < 16; i++)
        words[i] = load(self->block + 8 * i);
    memcpy(v, self->chain, sizeof self->chain);
    memcpy(v + 8, iv, sizeof iv);
    v[12] ^= self->counted;
    if (last)
        v[14] = ~v[14];
    for (size_t round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < 8; i++)
            mix(v, places[i], words[orders[round % 10][2 * i]], words[orders[round % 10][2 * i + 1]]);
    for (size_t i = 0; i < 8; i++)
        self->chain[i] ^= v[i] ^ v[i + 8];
    mssh_wipe(v, sizeof v);
    mssh_wipe(words, sizeof words);
}

/* A full block is kept until more comes: the last one is treated otherwise. */
static void add(state *self, mssh_slice bytes)
{
    while (bytes.len > 0) {
        size_t n = BLOCK - self->held;
        if (n == 0) {
            self->counted += BLOCK;
            compress(self, false);
            self->held = 0;
            continue;
        }
        n = n < bytes.len ? n : bytes.len;
        memcpy(self->block + self->held, bytes.data, n);
        self->held += n;
        bytes = mssh_slice_of(bytes.data + n, bytes.len - n);
    }
}

void mssh_blake2b(const mssh_slice *parts, size_t n_parts, uint8_t *out, size_t len)
{
    state self = {.counted = 0};

    memcpy(self.chain, iv, sizeof iv);
    self.chain[0] ^= UINT64_C(0x01010000) ^ len;
    for (size_t i = 0; i < n_parts; i++)
        add(&self, parts[i]);
    self.counted += self.held;
    memset(self.block + self.held, 0, BLOCK - self.held);
    compress(&self, true);
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(self.chain[i / 8] >> 8 * (i % 8));
    mssh_wipe(&self, sizeof self);
}
