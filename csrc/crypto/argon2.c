#include "crypto/argon2.h"

#include "base/error.h"
#include "crypto/blake2b.h"

/* A block is 128 words; a lane is computed in four slices a pass. */
enum { WORDS = 128, BLOCK = 1024, SLICES = 4, SEED = 64, OUT_MAX = 1024, VERSION = 0x13 };

typedef struct block {
    uint64_t words[WORDS];
} block;

typedef struct filling {
    const mssh_argon2 *settings;
    block *blocks;
    uint32_t lane_len;
    uint32_t segment_len;
    uint32_t n_blocks;
} filling;

/* Where in the memory a block is computed. */
typedef struct place {
    uint32_t pass;
    uint32_t slice;
    uint32_t lane;
    uint32_t index; /* within the segment */
} place;

static void store_u32(uint8_t *out, uint32_t value)
{
    for (size_t i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> 8 * i);
}

/* RFC 9106 3.3: a hash of any length. */
static void hash_long(const mssh_slice *parts, size_t n_parts, uint8_t *out, size_t len)
{
    uint8_t prefix[4];
    uint8_t link[MSSH_BLAKE2B_MAX];
    mssh_slice all[4];
    mssh_slice chained = mssh_slice_of(link, sizeof link);

    store_u32(prefix, (uint32_t)len);
    all[0] = mssh_slice_of(prefix, sizeof prefix);
    for (size_t i = 0; i < n_parts; i++)
        all[i + 1] = parts[i];
    if (len <= MSSH_BLAKE2B_MAX) {
        mssh_blake2b(all, n_parts + 1, out, len);
        return;
    }
    mssh_blake2b(all, n_parts + 1, link, sizeof link);
    while (len > MSSH_BLAKE2B_MAX) {
        memcpy(out, link, sizeof link / 2);
        out += sizeof link / 2;
        len -= sizeof link / 2;
        mssh_blake2b(&chained, 1, link, len > MSSH_BLAKE2B_MAX ? sizeof link : len);
    }
    memcpy(out, link, len);
    mssh_wipe(link, sizeof link);
}

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word >> bits | word << (64 - bits);
}

static uint64_t blend(uint64_t a, uint64_t b)
{
    return a + b + 2 * (uint64_t)(uint32_t)a * (uint32_t)b;
}

static inline void mix(uint64_t *a, uint64_t *b, uint64_t *c, uint64_t *d)
{
    *a = blend(*a, *b);
    *d = rotate(*d ^ *a, 32);
    *c = blend(*c, *d);
    *b = rotate(*b ^ *c, 24);
    *a = blend(*a, *b);
    *d = rotate(*d ^ *a, 16);
    *c = blend(*c, *d);
    *b = rotate(*b ^ *c, 63);
}

/* RFC 9106 3.6, over sixteen words: pairs of them, `stride` words apart. */
static inline void permute(uint64_t *first, size_t stride)
{
    uint64_t v[16];

    for (size_t i = 0; i < 8; i++) {
        v[2 * i] = first[i * stride];
        v[2 * i + 1] = first[i * stride + 1];
    }
    for (size_t i = 0; i < 4; i++)
        mix(&v[i], &v[i + 4], &v[i + 8], &v[i + 12]);
    for (size_t i = 0; i < 4; i++)
        mix(&v[i], &v[4 + (i + 1) % 4], &v[8 + (i + 2) % 4], &v[12 + (i + 3) % 4]);
    for (size_t i = 0; i < 8; i++) {
        first[i * stride] = v[2 * i];
        first[i * stride + 1] = v[2 * i + 1];
    }
}

/* RFC 9106 3.5. `out` may be one of the others; with `keep` what it held is added. */
static void compress(const block *x, const block *y, block *out, bool keep)
{
    block mixed, sum;

    for (size_t i = 0; i < WORDS; i++)
        sum.words[i] = mixed.words[i] = x->words[i] ^ y->words[i];
    for (size_t i = 0; i < 8; i++)
        permute(mixed.words + 16 * i, 2);
    for (size_t i = 0; i < 8; i++)
        permute(mixed.words + 2 * i, 16);
    for (size_t i = 0; i < WORDS; i++)
        out->words[i] = (keep ? out->words[i] : 0) ^ sum.words[i] ^ mixed.words[i];
}

static void load_block(block *out, const uint8_t *bytes)
{
    for (size_t i = 0; i < WORDS; i++) {
        uint64_t word = 0;
        for (size_t k = 8; k > 0; k--)
            word = word << 8 | bytes[8 * i + k - 1];
        out->words[i] = word;
    }
}

static void store_block(const block *from, uint8_t *bytes)
{
    for (size_t i = 0; i < BLOCK; i++)
        bytes[i] = (uint8_t)(from->words[i / 8] >> 8 * (i % 8));
}

/* H_0 (RFC 9106 3.2): everything that goes in. */
static void hash_settings(const mssh_argon2 *settings, mssh_slice passphrase, size_t out_len, uint8_t *seed)
{
    const mssh_slice inputs[4] = {passphrase, settings->salt, settings->secret, settings->associated};
    uint8_t numbers[6][4], lengths[4][4];
    mssh_slice parts[9];

    store_u32(numbers[0], settings->lanes);
    store_u32(numbers[1], (uint32_t)out_len);
    store_u32(numbers[2], settings->memory);
    store_u32(numbers[3], settings->passes);
    store_u32(numbers[4], VERSION);
    store_u32(numbers[5], (uint32_t)settings->kind);
    parts[0] = mssh_slice_of(numbers, sizeof numbers);
    for (size_t i = 0; i < 4; i++) {
        store_u32(lengths[i], (uint32_t)inputs[i].len);
        parts[1 + 2 * i] = mssh_slice_of(lengths[i], 4);
        parts[2 + 2 * i] = inputs[i];
    }
    mssh_blake2b(parts, sizeof parts / sizeof parts[0], seed, SEED);
}

/* The first two blocks of each lane. */
static void begin_lanes(const filling *self, const uint8_t *seed)
{
    uint8_t numbers[8], bytes[BLOCK];
    const mssh_slice parts[2] = {mssh_slice_of(seed, SEED), mssh_slice_of(numbers, sizeof numbers)};

    for (uint32_t lane = 0; lane < self->settings->lanes; lane++)
        for (uint32_t i = 0; i < 2; i++) {
            store_u32(numbers, i);
            store_u32(numbers + 4, lane);
            hash_long(parts, 2, bytes, BLOCK);
            load_block(&self->blocks[lane * self->lane_len + i], bytes);
        }
    mssh_wipe(bytes, sizeof bytes);
}

/* RFC 9106 3.4: which block the one at a place is made of, besides the one before it. */
static const block *reference(const filling *self, const place *at, uint64_t random)
{
    bool first = at->pass == 0;
    uint32_t lane = first && at->slice == 0 ? at->lane : (uint32_t)(random >> 32) % self->settings->lanes;
    /* Of its own lane all that was computed but the block before; of others what stood before this slice. */
    uint64_t area = first ? (uint64_t)at->slice * self->segment_len : self->lane_len - self->segment_len;
    uint64_t start = first || at->slice == SLICES - 1 ? 0 : (uint64_t)(at->slice + 1) * self->segment_len;
    uint64_t x = (uint64_t)(uint32_t)random * (uint32_t)random >> 32;

    if (lane == at->lane)
        area = area + at->index - 1;
    else if (at->index == 0)
        area--;
    return &self->blocks[lane * self->lane_len + (start + area - 1 - (area * x >> 32)) % self->lane_len];
}

/* The words from which the data-independent kinds choose, a block of them at a time. */
static void choose_addresses(const filling *self, const place *at, block *addresses)
{
    static const block zero;
    block input = {{at->pass, at->lane, at->slice, self->n_blocks, self->settings->passes,
                    (uint64_t)self->settings->kind, at->index / WORDS + 1}};

    compress(&zero, &input, addresses, false);
    compress(&zero, addresses, addresses, false);
}

static void fill_segment(const filling *self, place at)
{
    mssh_argon2_kind kind = self->settings->kind;
    bool independent =
        kind == MSSH_ARGON2_I || (kind == MSSH_ARGON2_ID && at.pass == 0 && at.slice < SLICES / 2);
    block *lane = self->blocks + (size_t)at.lane * self->lane_len;
    block addresses;

    at.index = at.pass == 0 && at.slice == 0 ? 2 : 0;
    if (independent && at.index % WORDS != 0)
        choose_addresses(self, &at, &addresses);
    for (; at.index < self->segment_len; at.index++) {
        uint32_t now = at.slice * self->segment_len + at.index;
        const block *before = &lane[(now + self->lane_len - 1) % self->lane_len];
        if (independent && at.index % WORDS == 0)
            choose_addresses(self, &at, &addresses);
        compress(before,
                 reference(self, &at, independent ? addresses.words[at.index % WORDS] : before->words[0]),
                 &lane[now], at.pass > 0);
    }
}

static void finish(const filling *self, uint8_t *out, size_t len)
{
    block last = self->blocks[self->lane_len - 1];
    uint8_t bytes[BLOCK];
    mssh_slice whole = mssh_slice_of(bytes, sizeof bytes);

    for (uint32_t lane = 1; lane < self->settings->lanes; lane++)
        for (size_t i = 0; i < WORDS; i++)
            last.words[i] ^= self->blocks[(size_t)(lane + 1) * self->lane_len - 1].words[i];
    store_block(&last, bytes);
    hash_long(&whole, 1, out, len);
    mssh_wipe(&last, sizeof last);
    mssh_wipe(bytes, sizeof bytes);
}

static bool in_range(const mssh_argon2 *settings, mssh_slice passphrase, size_t len)
{
    return settings->lanes >= 1 && settings->lanes <= MSSH_ARGON2_LANES_MAX && settings->passes >= 1 &&
           settings->memory >= 8 * settings->lanes && settings->memory <= MSSH_ARGON2_MEMORY_MAX &&
           settings->passes <= MSSH_ARGON2_WORK_MAX / settings->memory && settings->salt.len >= 8 &&
           settings->salt.len <= UINT32_MAX && passphrase.len <= UINT32_MAX && len >= 4 && len <= OUT_MAX &&
           settings->secret.len <= UINT32_MAX && settings->associated.len <= UINT32_MAX;
}

int mssh_argon2_derive(mssh_mem *mem, const mssh_argon2 *settings, mssh_slice passphrase, uint8_t *out,
                       size_t len)
{
    filling self = {.settings = settings};
    uint8_t seed[SEED];
    size_t size;
    place at;

    if (!in_range(settings, passphrase, len))
        return MSSH_ERR_LIMIT;
    self.segment_len = settings->memory / (SLICES * settings->lanes);
    self.lane_len = self.segment_len * SLICES;
    self.n_blocks = self.lane_len * settings->lanes;
    size = (size_t)self.n_blocks * sizeof(block);
    self.blocks = mssh_alloc(mem, size);
    if (self.blocks == NULL)
        return MSSH_ERR_MEMORY;
    hash_settings(settings, passphrase, len, seed);
    begin_lanes(&self, seed);
    for (at.pass = 0; at.pass < settings->passes; at.pass++)
        for (at.slice = 0; at.slice < SLICES; at.slice++)
            for (at.lane = 0; at.lane < settings->lanes; at.lane++)
                fill_segment(&self, at);
    finish(&self, out, len);
    mssh_wipe(seed, sizeof seed);
    mssh_free(mem, self.blocks, size);
    mssh_wipe_stack();
    return 0;
}
