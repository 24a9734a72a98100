/*
 * Base64 (RFC 4648) over buffers.
 */
#ifndef MSSH_KEYS_BASE64_H
#define MSSH_KEYS_BASE64_H

#include "base/buf.h"

/* Appends the encoding of bytes, padded, without line breaks. */
void mssh_base64_encode(mssh_slice bytes, mssh_buf *out);

/* Decodes text, white space skipped, padding required; appends the bytes. MSSH_ERR_KEY_FORMAT when it is not
 * base64. */
int mssh_base64_decode(mssh_slice text, mssh_buf *out);

#endif
