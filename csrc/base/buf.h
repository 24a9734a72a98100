/*
 * A byte queue: bytes are appended at the end and consumed from the start. It never grows past its maximum,
 * and it is sticky: after the first failure every further append fails too, so that a writer checks once at
 * the end. What it frees is wiped.
 */
#ifndef MSSH_BASE_BUF_H
#define MSSH_BASE_BUF_H

#include "base/mem.h"
#include "base/slice.h"

typedef struct mssh_buf {
    mssh_mem *mem;
    uint8_t *data;
    size_t start; /* offset of the first byte not consumed */
    size_t end;   /* offset past the last byte */
    size_t high;  /* highest offset ever written since the block was allocated: what has to be wiped */
    size_t cap;
    size_t max; /* most bytes it may hold */
    int error;  /* 0, MSSH_ERR_MEMORY or MSSH_ERR_LIMIT: the first failure */
} mssh_buf;

/* Prepares an empty buffer that holds at most `max` bytes; allocates nothing. */
void mssh_buf_init(mssh_buf *buf, mssh_mem *mem, size_t max);

/* Wipes and frees the storage; the buffer is empty, without error, and usable as after init. */
void mssh_buf_free(mssh_buf *buf);

/* Number of bytes held. */
static inline size_t mssh_buf_len(const mssh_buf *buf)
{
    return buf->end - buf->start;
}

/* The bytes held, valid until the next change. */
static inline mssh_slice mssh_buf_slice(const mssh_buf *buf)
{
    return buf->data == NULL ? MSSH_SLICE_EMPTY
                             : mssh_slice_of(buf->data + buf->start, buf->end - buf->start);
}

/* The bytes held, to be changed in place; valid until the next change of size. NULL when nothing was ever
 * stored. */
static inline uint8_t *mssh_buf_bytes(mssh_buf *buf)
{
    return buf->data == NULL ? NULL : buf->data + buf->start;
}

/* Room for `len` more bytes at the end, to be written and then committed; NULL on failure (buf->error says
 * why). Moves what is held to the front, or the block, when needed. */
uint8_t *mssh_buf_reserve(mssh_buf *buf, size_t len);

/* Takes `len` bytes, written into the room that reserve gave, into the buffer. */
void mssh_buf_commit(mssh_buf *buf, size_t len);

/* Appends bytes. 0, or buf->error. */
int mssh_buf_append(mssh_buf *buf, const void *bytes, size_t len);

/* Drops `len` bytes (at most what is held) from the start. The storage is kept. */
void mssh_buf_consume(mssh_buf *buf, size_t len);

/* Cuts the content to its first `len` bytes and wipes the rest. */
void mssh_buf_truncate(mssh_buf *buf, size_t len);

/* Empties the buffer, wipes it, clears its error; keeps the storage. */
void mssh_buf_clear(mssh_buf *buf);

#endif
