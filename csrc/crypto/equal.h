/*
 * Comparison in constant time, for MACs, tags, hashes of names and secrets.
 */
#ifndef MSSH_CRYPTO_EQUAL_H
#define MSSH_CRYPTO_EQUAL_H

#include <stdbool.h>
#include <stddef.h>

/* Whether two blocks of `len` bytes are equal, in time that depends on `len` alone. */
bool mssh_equal_ct(const void *a, const void *b, size_t len);

#endif
