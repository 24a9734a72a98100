/*
 * Compression of payloads (RFC 4253 6.2, RFC 1950): one zlib stream a direction, flushed at the end of each
 * packet so that the peer can read it at once.
 */
#ifndef MSSH_TRANSPORT_COMPRESS_H
#define MSSH_TRANSPORT_COMPRESS_H

#include "base/buf.h"

/* Most bytes that one packet may inflate to. */
#define MSSH_INFLATE_MAX ((size_t)256 * 1024)

typedef struct mssh_deflate mssh_deflate;
typedef struct mssh_inflate mssh_inflate;

/* A fresh stream for sending. NULL when out of memory. */
mssh_deflate *mssh_deflate_new(mssh_mem *mem);

/* Wipes and frees it; NULL is fine. */
void mssh_deflate_free(mssh_deflate *deflate);

/* Appends the compressed form of one payload, given in two parts, to *out. 0 or an mssh_err. */
int mssh_deflate_packet(mssh_deflate *deflate, mssh_slice head, mssh_slice body, mssh_buf *out);

/* A fresh stream for receiving. NULL when out of memory. */
mssh_inflate *mssh_inflate_new(mssh_mem *mem);

/* Wipes and frees it; NULL is fine. */
void mssh_inflate_free(mssh_inflate *inflate);

/* Appends to *out what one packet inflates to. MSSH_ERR_LIMIT when that is more than MSSH_INFLATE_MAX bytes,
 * MSSH_ERR_PROTOCOL when it is no running zlib stream or holds nothing, MSSH_ERR_MEMORY. After an error the
 * stream is of no use. */
int mssh_inflate_packet(mssh_inflate *inflate, mssh_slice packet, mssh_buf *out);

#endif
