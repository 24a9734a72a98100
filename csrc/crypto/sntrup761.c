/* Arithmetic of sntrup761 (Streamlined NTRU Prime, draft-ietf-sshm-ntruprime-ssh). */
#include "crypto/sntrup761.h"

#include <string.h>

enum {
    P = MSSH_SNTRUP_P,
    Q = MSSH_SNTRUP_Q,
    ROOM = MSSH_SNTRUP_ROOM,
    HALF_Q = (Q - 1) / 2,
    Q_INVERSE = 15631, /* q^-1 modulo 2^16 */
    BLOCK = 64,        /* coefficients that a loop over a part of an array goes on by */
};

/* -1 when x is negative, else 0. */
static int32_t negative(int32_t x)
{
    return -(int32_t)((uint32_t)x >> 31);
}

/* -1 when x is not 0, else 0. */
static int32_t nonzero(int32_t x)
{
    return negative(x) | negative(-x);
}

int16_t mssh_sntrup_mod_q(int32_t x)
{
    /* 14617 is 2^26 / q, nearly: the quotient is at most one off. */
    x -= Q * (int32_t)(((int64_t)x * 14617 + (1 << 25)) >> 26);
    x -= Q & negative(HALF_Q - x);
    x += Q & negative(x + HALF_Q);
    return (int16_t)x;
}

int16_t mssh_sntrup_mod_3(int32_t x)
{
    x -= 3 * (int32_t)(((int64_t)x * 22369621 + (1 << 25)) >> 26);
    x -= 3 & negative(1 - x);
    x += 3 & negative(x + 1);
    return (int16_t)x;
}

/* --- products */

/* All sums of products, then x^761 = x + 1 for the upper half. */
static void multiply(const mssh_sntrup_poly *a, const mssh_sntrup_poly *b, int32_t *sums)
{
    memset(sums, 0, 2 * ROOM * sizeof *sums);
    for (size_t i = 0; i < P; i++) {
        int16_t factor = b->at[i];
        for (size_t j = 0; j < ROOM; j++)
            sums[i + j] += (int32_t)a->at[j] * factor;
    }
    for (size_t i = 2 * P - 2; i >= P; i--) {
        sums[i - P] += sums[i];
        sums[i - P + 1] += sums[i];
    }
}

void mssh_sntrup_multiply_q(const mssh_sntrup_poly *a, const mssh_sntrup_poly *b, mssh_sntrup_room *room,
                            mssh_sntrup_poly *out)
{
    multiply(a, b, room->sums);
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < P; i++)
        out->at[i] = mssh_sntrup_mod_q(room->sums[i]);
}

void mssh_sntrup_multiply_3(const mssh_sntrup_poly *a, const mssh_sntrup_poly *b, mssh_sntrup_room *room,
                            mssh_sntrup_poly *out)
{
    multiply(a, b, room->sums);
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < P; i++)
        out->at[i] = mssh_sntrup_mod_3(room->sums[i]);
}

/* --- inverses: division steps (Bernstein and Yang, 2019), always 2 * 761 - 1 of them */

/* a * b / 2^16 modulo q, for |a|, |b| < 2^14: the result is below q in size. */
static inline int16_t montgomery(int16_t a, int16_t b)
{
    int32_t product = (int32_t)a * b;
    int16_t low = (int16_t)(uint16_t)((uint32_t)product * Q_INVERSE);

    return (int16_t)((product >> 16) - (((int32_t)low * Q) >> 16));
}

/* target = f0 * target - g0 * other, divided by 2^16; the size stays below 7200. */
static void eliminate_q(int16_t *target, const int16_t *other, const int16_t factors[2], size_t len)
{
    for (size_t start = 0; start < len; start += BLOCK)
        for (size_t i = start; i < start + BLOCK; i++)
            target[i] = (int16_t)(montgomery(target[i], factors[0]) - montgomery(other[i], factors[1]));
}

/* target = target + factor * other modulo 3. */
static void eliminate_3(int16_t *target, const int16_t *other, int16_t factor, size_t len)
{
    for (size_t start = 0; start < len; start += BLOCK) {
        for (size_t i = start; i < start + BLOCK; i++) {
            int16_t sum = (int16_t)(target[i] + other[i] * factor);
            sum = (int16_t)(sum + (3 & (int16_t)((sum + 1) >> 15)));
            target[i] = (int16_t)(sum - (3 & (int16_t)((1 - sum) >> 15)));
        }
    }
}

/* Exchanges where the mask is -1. */
static void exchange(int16_t *a, int16_t *b, int16_t mask, size_t len)
{
    for (size_t start = 0; start < len; start += BLOCK) {
        for (size_t i = start; i < start + BLOCK; i++) {
            int16_t difference = (int16_t)((a[i] ^ b[i]) & mask);
            a[i] = (int16_t)(a[i] ^ difference);
            b[i] = (int16_t)(b[i] ^ difference);
        }
    }
}

/* How much of f and g, and of v and r, a step has to go through: what the steps before have filled, or the
 * steps to come still need. These bounds depend on the number of the step alone. */
static size_t live(int step)
{
    return step < P ? P + 1 : (size_t)(2 * P - step);
}

static size_t filled(int step)
{
    return step < P ? (size_t)step + 2 : P + 1;
}

/* f = the modulus and g = a, both turned round; v = 0. The caller sets r. */
static void begin(const mssh_sntrup_poly *a, mssh_sntrup_room *room)
{
    memset(room->f, 0, sizeof room->f);
    memset(room->g, 0, sizeof room->g);
    memset(room->v, 0, sizeof room->v);
    memset(room->r, 0, sizeof room->r);
    room->f[0] = 1;
    room->f[P - 1] = room->f[P] = -1;
    for (size_t i = 0; i < P; i++)
        room->g[i] = a->at[P - 1 - i];
}

/* The part of a step that is alike: shifts v, and exchanges as the step asks. delta grows by one. */
static void step_exchange(mssh_sntrup_room *room, int step, int32_t g0, int32_t *delta)
{
    int32_t swap = negative(-*delta) & nonzero(g0);

    memmove(room->v + 1, room->v, P * sizeof room->v[0]);
    room->v[0] = 0;
    *delta = ((*delta ^ swap) - swap) + 1;
    exchange(room->f, room->g, (int16_t)swap, live(step));
    exchange(room->v, room->r, (int16_t)swap, filled(step));
}

/* The end of a step: g loses its constant term, which has become 0. */
static void step_shift(mssh_sntrup_room *room)
{
    memmove(room->g, room->g + 1, P * sizeof room->g[0]);
    room->g[P] = 0;
}

/* x^(q-2) modulo q, which is 1 / x. */
static int16_t invert_number(int16_t x)
{
    int32_t power = x;
    int32_t result = 1;

    for (unsigned exponent = Q - 2; exponent > 0; exponent /= 2) {
        if (exponent % 2 == 1)
            result = mssh_sntrup_mod_q(result * power);
        power = mssh_sntrup_mod_q(power * power);
    }
    return (int16_t)result;
}

void mssh_sntrup_invert_3q(const mssh_sntrup_poly *a, mssh_sntrup_room *room, mssh_sntrup_poly *out)
{
    int32_t delta = 1;
    int16_t scale;

    begin(a, room);
    room->r[0] = invert_number(3);
    for (int step = 0; step < 2 * P - 1; step++) {
        int16_t factors[2];
        step_exchange(room, step, mssh_sntrup_mod_q(room->g[0]), &delta);
        factors[0] = room->f[0];
        factors[1] = room->g[0];
        eliminate_q(room->g, room->f, factors, live(step));
        eliminate_q(room->r, room->v, factors, filled(step));
        step_shift(room);
    }
    scale = invert_number(mssh_sntrup_mod_q(room->f[0]));
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < P; i++)
        out->at[i] = mssh_sntrup_mod_q(scale * (int32_t)mssh_sntrup_mod_q(room->v[P - 1 - i]));
}

bool mssh_sntrup_invert_3(const mssh_sntrup_poly *a, mssh_sntrup_room *room, mssh_sntrup_poly *out)
{
    int32_t delta = 1;

    begin(a, room);
    room->r[0] = 1;
    for (int step = 0; step < 2 * P - 1; step++) {
        int16_t factor;
        step_exchange(room, step, room->g[0], &delta);
        factor = (int16_t)(-room->f[0] * room->g[0]);
        eliminate_3(room->g, room->f, factor, live(step));
        eliminate_3(room->r, room->v, factor, filled(step));
        step_shift(room);
    }
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < P; i++)
        out->at[i] = (int16_t)(room->f[0] * room->v[P - 1 - i]);
    return delta == 0;
}

void mssh_sntrup_round(mssh_sntrup_poly *a)
{
    for (size_t i = 0; i < P; i++)
        a->at[i] = (int16_t)(a->at[i] - mssh_sntrup_mod_3(a->at[i]));
}

/* --- packed forms */

void mssh_sntrup_pack_small(const mssh_sntrup_poly *a, uint8_t *out)
{
    for (size_t i = 0; i < MSSH_SNTRUP_SMALL_LEN; i++) {
        unsigned byte = 0;
        for (size_t j = 0; j < 4 && 4 * i + j < P; j++)
            byte |= (unsigned)(a->at[4 * i + j] + 1) << (2 * j);
        out[i] = (uint8_t)byte;
    }
}

/* Numbers values[i] < moduli[i] as bytes: pairs become one number below the product of their moduli, which
 * gives off low bytes until it is below 2^14, and so on with half as many. Both arrays are used up. The
 * moduli are public, the values need not be. */
static void pack(uint16_t *values, uint16_t *moduli, size_t len, uint8_t *out)
{
    while (len > 1) {
        size_t half = 0;
        for (size_t i = 0; i + 1 < len; i += 2, half++) {
            uint32_t value = values[i] + (uint32_t)values[i + 1] * moduli[i];
            uint32_t modulus = (uint32_t)moduli[i] * moduli[i + 1];
            for (; modulus >= 16384; modulus = (modulus + 255) >> 8) {
                *out++ = (uint8_t)value;
                value >>= 8;
            }
            values[half] = (uint16_t)value;
            moduli[half] = (uint16_t)modulus;
        }
        if (len % 2 == 1) {
            values[half] = values[len - 1];
            moduli[half] = moduli[len - 1];
            half++;
        }
        len = half;
    }
    for (uint32_t modulus = moduli[0], value = values[0]; modulus > 1; modulus = (modulus + 255) >> 8) {
        *out++ = (uint8_t)value;
        value >>= 8;
    }
}

enum { MOST_LEVELS = 11 };

/* The way back, for `len` numbers below one modulus: all of it is public. A level has len / 2 numbers of
 * the one below, rounded up; what each pair gave off stands in the bytes level by level. */
typedef struct unpacker {
    uint16_t moduli[2 * P + MOST_LEVELS]; /* of all levels, one after the other */
    uint32_t low[2 * P + MOST_LEVELS];    /* what a pair of the level gave off */
    uint32_t scale[2 * P + MOST_LEVELS];  /* 256 to the number of bytes given off */
    size_t start[MOST_LEVELS];
    size_t len[MOST_LEVELS];
} unpacker;

/* Reads what the pairs of one level gave off, and sets the moduli of the next one. */
static const uint8_t *unpack_level(unpacker *u, size_t level, const uint8_t *bytes)
{
    const uint16_t *moduli = u->moduli + u->start[level];
    uint16_t *next = u->moduli + u->start[level + 1];
    size_t half = 0;

    for (size_t i = 0; i + 1 < u->len[level]; i += 2, half++) {
        size_t at = u->start[level] + half;
        uint32_t modulus = (uint32_t)moduli[i] * moduli[i + 1];
        u->low[at] = 0;
        u->scale[at] = 1;
        for (; modulus >= 16384; modulus = (modulus + 255) >> 8) {
            u->low[at] += *bytes++ * u->scale[at];
            u->scale[at] *= 256;
        }
        next[half] = (uint16_t)modulus;
    }
    if (u->len[level] % 2 == 1)
        next[half++] = moduli[u->len[level] - 1];
    u->len[level + 1] = half;
    return bytes;
}

/* values[len of the level above] become those of a level, in place, from the last pair down. */
static void unpack_values(const unpacker *u, size_t level, uint16_t *values)
{
    const uint16_t *moduli = u->moduli + u->start[level];
    size_t len = u->len[level];

    if (len % 2 == 1)
        values[len - 1] = values[len / 2];
    for (size_t pair = len / 2; pair-- > 0;) {
        size_t at = u->start[level] + pair;
        uint32_t value = u->low[at] + u->scale[at] * values[pair];
        values[2 * pair] = (uint16_t)(value % moduli[2 * pair]);
        values[2 * pair + 1] = (uint16_t)(value / moduli[2 * pair] % moduli[2 * pair + 1]);
    }
}

static void unpack(const uint8_t *bytes, uint16_t modulus, uint16_t *values)
{
    unpacker u;
    size_t level = 0;
    uint32_t last = 0;
    uint32_t scale = 1;

    u.start[0] = 0;
    u.len[0] = P;
    for (size_t i = 0; i < P; i++)
        u.moduli[i] = modulus;
    while (u.len[level] > 1) {
        u.start[level + 1] = u.start[level] + u.len[level];
        bytes = unpack_level(&u, level, bytes);
        level++;
    }
    for (uint32_t m = u.moduli[u.start[level]]; m > 1; m = (m + 255) >> 8) {
        last += *bytes++ * scale;
        scale *= 256;
    }
    values[0] = (uint16_t)(last % u.moduli[u.start[level]]);
    while (level-- > 0)
        unpack_values(&u, level, values);
}

void mssh_sntrup_pack_q(const mssh_sntrup_poly *a, uint8_t *out)
{
    uint16_t values[P];
    uint16_t moduli[P];

    for (size_t i = 0; i < P; i++) {
        values[i] = (uint16_t)(a->at[i] + HALF_Q);
        moduli[i] = Q;
    }
    pack(values, moduli, P, out);
}

void mssh_sntrup_unpack_q(const uint8_t *bytes, mssh_sntrup_poly *a)
{
    uint16_t values[P];

    unpack(bytes, Q, values);
    memset(a, 0, sizeof *a);
    for (size_t i = 0; i < P; i++)
        a->at[i] = (int16_t)(values[i] - HALF_Q);
}

void mssh_sntrup_pack_rounded(const mssh_sntrup_poly *a, uint8_t *out)
{
    uint16_t values[P];
    uint16_t moduli[P];

    for (size_t i = 0; i < P; i++) {
        values[i] = (uint16_t)(((uint32_t)(a->at[i] + HALF_Q) * 10923) >> 15); /* a third */
        moduli[i] = (Q + 2) / 3;
    }
    pack(values, moduli, P, out);
}

void mssh_sntrup_unpack_rounded(const uint8_t *bytes, mssh_sntrup_poly *a)
{
    uint16_t values[P];

    unpack(bytes, (Q + 2) / 3, values);
    memset(a, 0, sizeof *a);
    for (size_t i = 0; i < P; i++)
        a->at[i] = (int16_t)(values[i] * 3 - HALF_Q);
}
