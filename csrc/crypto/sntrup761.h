/*
 * The ring of sntrup761: polynomials modulo x^761 - x - 1, with coefficients modulo 3 ({-1, 0, 1}) or modulo
 * q = 4591 (-2295..2295), and their packed forms. Constant time in all that may be secret.
 */
#ifndef MSSH_CRYPTO_SNTRUP761_H
#define MSSH_CRYPTO_SNTRUP761_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MSSH_SNTRUP_P = 761,
    MSSH_SNTRUP_Q = 4591,
    MSSH_SNTRUP_W = 286,            /* coefficients of a short polynomial that are not 0 */
    MSSH_SNTRUP_SMALL_LEN = 191,    /* packed coefficients modulo 3 */
    MSSH_SNTRUP_RQ_LEN = 1158,      /* modulo q */
    MSSH_SNTRUP_ROUNDED_LEN = 1007, /* modulo q, multiples of 3 */
    MSSH_SNTRUP_ROOM = 768,         /* coefficients of an array: a multiple of what a vector register takes */
};

/* A polynomial; what is past MSSH_SNTRUP_P is 0. */
typedef struct mssh_sntrup_poly {
    int16_t at[MSSH_SNTRUP_ROOM];
} mssh_sntrup_poly;

/* Where products are summed up, and inverses computed. */
typedef struct mssh_sntrup_room {
    int32_t sums[2 * MSSH_SNTRUP_ROOM];
    int16_t f[MSSH_SNTRUP_ROOM + 64];
    int16_t g[MSSH_SNTRUP_ROOM + 64];
    int16_t v[MSSH_SNTRUP_ROOM + 64];
    int16_t r[MSSH_SNTRUP_ROOM + 64];
} mssh_sntrup_room;

/* x modulo q, and modulo 3, with the sign that makes it small. |x| < 2^23. */
int16_t mssh_sntrup_mod_q(int32_t x);
int16_t mssh_sntrup_mod_3(int32_t x);

/* out = a * b, where b has coefficients -1, 0, 1; modulo q, or modulo 3 (then a has them too). */
void mssh_sntrup_multiply_q(const mssh_sntrup_poly *a, const mssh_sntrup_poly *b, mssh_sntrup_room *room,
                            mssh_sntrup_poly *out);
void mssh_sntrup_multiply_3(const mssh_sntrup_poly *a, const mssh_sntrup_poly *b, mssh_sntrup_room *room,
                            mssh_sntrup_poly *out);

/* out = 1 / (3 a) modulo q; a, of coefficients -1, 0, 1, always has one. */
void mssh_sntrup_invert_3q(const mssh_sntrup_poly *a, mssh_sntrup_room *room, mssh_sntrup_poly *out);

/* out = 1 / a modulo 3; false when a has none. */
bool mssh_sntrup_invert_3(const mssh_sntrup_poly *a, mssh_sntrup_room *room, mssh_sntrup_poly *out);

/* Each coefficient to the nearest multiple of 3. */
void mssh_sntrup_round(mssh_sntrup_poly *a);

/* Packed forms, of the lengths above. What unpack takes may be anything: coefficients come out in range. */
void mssh_sntrup_pack_small(const mssh_sntrup_poly *a, uint8_t *out);
void mssh_sntrup_pack_q(const mssh_sntrup_poly *a, uint8_t *out);
void mssh_sntrup_unpack_q(const uint8_t *bytes, mssh_sntrup_poly *a);
void mssh_sntrup_pack_rounded(const mssh_sntrup_poly *a, uint8_t *out);
void mssh_sntrup_unpack_rounded(const uint8_t *bytes, mssh_sntrup_poly *a);

#endif
