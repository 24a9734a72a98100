/*
 * Reads the data types of RFC 4251 section 5 from bytes of the peer. The reader is sticky: after the first
 * field that does not fit, every further one reads as zero or empty, and mssh_reader_ok tells once at the
 * end. Views point into the input.
 */
#ifndef MSSH_WIRE_READER_H
#define MSSH_WIRE_READER_H

#include "base/slice.h"

typedef struct mssh_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
} mssh_reader;

/* Starts reading borrowed bytes. */
mssh_reader mssh_reader_of(mssh_slice bytes);

/* One byte. */
uint8_t mssh_read_u8(mssh_reader *reader);

/* A boolean: any value but 0 is true. */
bool mssh_read_bool(mssh_reader *reader);

/* A uint32, big-endian. */
uint32_t mssh_read_u32(mssh_reader *reader);

/* A uint64, big-endian. */
uint64_t mssh_read_u64(mssh_reader *reader);

/* A string, without its length; borrowed from the input. */
mssh_slice mssh_read_string(mssh_reader *reader);

/* A non-negative mpint in its only encoding (no needless leading zero): its magnitude without leading zeros,
 * empty for 0. A negative or padded one fails. */
mssh_slice mssh_read_mpint(mssh_reader *reader);

/* `len` raw bytes, borrowed from the input. */
mssh_slice mssh_read_bytes(mssh_reader *reader, size_t len);

/* All bytes that are left. */
mssh_slice mssh_read_rest(mssh_reader *reader);

/* Bytes that are left; 0 after a failure. */
size_t mssh_reader_left(const mssh_reader *reader);

/* Whether every field so far was there. */
bool mssh_reader_ok(const mssh_reader *reader);

/* Whether every field was there and nothing is left over. */
bool mssh_reader_done(const mssh_reader *reader);

#endif
