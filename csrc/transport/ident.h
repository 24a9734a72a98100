/*
 * The peer's identification string (RFC 4253 4.2). A server may send other lines before it.
 *
 * Accepted are SSH-2.0 and SSH-1.99 with a software version, in printable ASCII, ended by CR LF or by a bare
 * LF (as OpenSSH accepts), at most 255 bytes in all. A client takes up to 1,024 lines of up to 8 KiB before
 * it, a server none.
 */
#ifndef MSSH_TRANSPORT_IDENT_H
#define MSSH_TRANSPORT_IDENT_H

#include "base/buf.h"
#include "base/error.h"

enum {
    MSSH_IDENT_MAX = 255, /* bytes, line end included */
    MSSH_IDENT_LINES_MAX = 1024,
    MSSH_IDENT_LINE_MAX = 8192, /* bytes of a line before it, line end included */
};

typedef struct mssh_ident {
    bool allow_lines; /* whether other lines may come first */
    size_t n_lines;   /* taken so far */
    size_t scanned;   /* bytes at the start of the input that hold no line end */
    uint8_t text[MSSH_IDENT_MAX];
    size_t len; /* of text, which has no line end; 0 until it has come */
} mssh_ident;

/* Takes lines off *in until the identification has come. 1: ident->text holds it; 0: more bytes are needed;
 * negative: rejected, said in *failure. */
int mssh_ident_take(mssh_ident *ident, mssh_buf *in, mssh_failure *failure);

/* Writes our own identification string without its line end into out[MSSH_IDENT_MAX]. Its length, or
 * MSSH_ERR_UNSUPPORTED when `software` is empty, too long, or not printable ASCII without spaces and '-'. */
int mssh_ident_write(const char *software, uint8_t *out);

#endif
