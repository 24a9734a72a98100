/*
 * Error codes, and the record of the first failure.
 *
 * A function that can fail returns 0 or one of these, which are negative. What went wrong in words, for
 * people and for the peer, is kept in an mssh_failure: the first cause wins, what follows from it is not
 * recorded.
 */
#ifndef MSSH_BASE_ERROR_H
#define MSSH_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(identifier, value, name): the name is what Lua sees as err.code. */
#define MSSH_ERRORS(X)                                                                                       \
    X(MEMORY, -1, "memory")               /* an allocation failed */                                         \
    X(PROTOCOL, -2, "protocol")           /* the peer broke the protocol */                                  \
    X(MAC, -3, "mac")                     /* a MAC or AEAD tag did not match */                              \
    X(NEGOTIATION, -4, "negotiation")     /* no common algorithm */                                          \
    X(LIMIT, -5, "limit")                 /* a stated limit was reached */                                   \
    X(UNSUPPORTED, -6, "unsupported")     /* not offered by this build or by OpenSSL as it is configured */  \
    X(KEY_FORMAT, -7, "key_format")       /* not a key, or a damaged one */                                  \
    X(PASSPHRASE, -8, "passphrase")       /* passphrase missing or wrong */                                  \
    X(EOF, -9, "eof")                     /* the connection ended without a DISCONNECT */                    \
    X(DISCONNECTED, -10, "disconnected")  /* the peer sent SSH_MSG_DISCONNECT */                             \
    X(HOST_KEY, -11, "host_key_rejected") /* the host key was not accepted */                                \
    X(CLOSED, -12, "closed")              /* closed by our side */                                           \
    X(TIMEOUT, -13, "timeout")            /* a deadline of ours passed */                                    \
    X(IO, -14, "io")                      /* the transport's read or write failed */                         \
    X(STATE, -15, "state")                /* called out of place: a mistake of the caller */                 \
    X(NO_CHANNEL, -16, "closed")          /* a channel handle that is no longer valid */

typedef enum mssh_err {
    MSSH_OK = 0,
#define MSSH_ERROR_ENUM(id, value, name) MSSH_ERR_##id = (value),
    MSSH_ERRORS(MSSH_ERROR_ENUM)
#undef MSSH_ERROR_ENUM
} mssh_err;

/* Longest message of a failure, with its terminator. */
#define MSSH_FAILURE_MESSAGE_MAX 512

typedef struct mssh_failure {
    int code; /* 0 while nothing failed, else an mssh_err */
    uint32_t
        reason; /* reason code of the DISCONNECT to send, or of the one received (RFC 4253 11.1); 0: none */
    char message[MSSH_FAILURE_MESSAGE_MAX]; /* for people; text from the peer in it is escaped */
} mssh_failure;

/* The stable name of an error code, e.g. "protocol"; "unknown" for a value that is none. */
const char *mssh_err_name(int code);

/* Records a failure if it is the first one, with a printf-style message, cut to fit. Returns the code that is
 * recorded now. Text from the peer must have gone through mssh_escape before. `failure` may be NULL: then
 * only the code is returned. */
int mssh_fail(mssh_failure *failure, int code, uint32_t reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Writes untrusted bytes as printable ASCII into out[size], always terminated: control characters, DEL, the
 * backslash and bytes from 0x80 become \xHH; what does not fit is cut and ends in "...". Returns out, for use
 * within an argument list. */
const char *mssh_escape(char *out, size_t size, const void *bytes, size_t len);

#endif
