/*
 * Writes the data types of RFC 4251 section 5 at the end of a buffer. The buffer's sticky error stands for
 * the whole message: check buf->error once after the last field.
 */
#ifndef MSSH_WIRE_WRITER_H
#define MSSH_WIRE_WRITER_H

#include "base/buf.h"

/* One byte. */
void mssh_write_u8(mssh_buf *buf, uint8_t value);

/* A boolean as 0 or 1. */
void mssh_write_bool(mssh_buf *buf, bool value);

/* A uint32, big-endian. */
void mssh_write_u32(mssh_buf *buf, uint32_t value);

/* A uint64, big-endian. */
void mssh_write_u64(mssh_buf *buf, uint64_t value);

/* A string: length and bytes. Longer than 2^32-1 fails with MSSH_ERR_LIMIT. */
void mssh_write_string(mssh_buf *buf, mssh_slice value);

/* A string from C text. */
void mssh_write_text(mssh_buf *buf, const char *text);

/* The non-negative mpint with this big-endian magnitude; leading zeros are dropped. */
void mssh_write_mpint(mssh_buf *buf, mssh_slice magnitude);

/* Raw bytes. */
void mssh_write_bytes(mssh_buf *buf, mssh_slice bytes);

/* Stores a uint32, big-endian, at out[4]. */
static inline void mssh_store_u32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

/* Loads a uint32, big-endian, from in[4]. */
static inline uint32_t mssh_load_u32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | (uint32_t)in[3];
}

#endif
