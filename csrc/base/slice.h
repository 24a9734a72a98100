/*
 * A view of bytes that somebody else owns. It is valid as long as the owner says, and never freed.
 */
#ifndef MSSH_BASE_SLICE_H
#define MSSH_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct mssh_slice {
    const uint8_t *data;
    size_t len;
} mssh_slice;

/* The empty view. */
#define MSSH_SLICE_EMPTY ((mssh_slice){NULL, 0})

/* Views `len` bytes at `data`, borrowed. */
static inline mssh_slice mssh_slice_of(const void *data, size_t len)
{
    return (mssh_slice){(const uint8_t *)data, len};
}

/* Views a C string without its terminator, borrowed. */
static inline mssh_slice mssh_slice_of_text(const char *text)
{
    return mssh_slice_of(text, strlen(text));
}

/* Whether two views hold the same bytes. Not constant-time: for public data only (see crypto/equal.h). */
static inline bool mssh_slice_equals(mssh_slice a, mssh_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Whether the view holds exactly the bytes of a C string. Not constant-time. */
static inline bool mssh_slice_is(mssh_slice a, const char *text)
{
    return mssh_slice_equals(a, mssh_slice_of_text(text));
}

#endif
