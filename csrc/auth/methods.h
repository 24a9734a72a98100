/*
 * What the methods share within this folder: the state of an authentication, the rows of the methods, and the
 * two halves of every request.
 */
#ifndef MSSH_AUTH_METHODS_H
#define MSSH_AUTH_METHODS_H

#include "auth/auth.h"
#include "wire/reader.h"
#include "wire/writer.h"

/* Kinds of requests. A probe is a request of method "publickey" too, but has other answers. */
typedef enum mssh_auth_kind {
    MSSH_AUTH_BY_NONE,
    MSSH_AUTH_BY_PASSWORD,
    MSSH_AUTH_BY_PROBE,
    MSSH_AUTH_BY_PUBLICKEY,
    MSSH_AUTH_BY_HOSTBOUND,
    MSSH_AUTH_BY_HOST,
    MSSH_AUTH_BY_INTERACTIVE,
    MSSH_AUTH_N_KINDS
} mssh_auth_kind;

typedef struct mssh_auth_method {
    const char *name;        /* on the wire */
    const char *request;     /* for people */
    bool success_may_answer; /* whether SUCCESS is a possible answer */
    /* Parses message 60, whose meaning is the method's; the reader stands behind the number. NULL: it does
     * not fit. */
    int (*handle_60)(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event);
} mssh_auth_method;

/* Where the service request stands. */
typedef enum mssh_auth_service {
    MSSH_AUTH_SERVICE_UNASKED,
    MSSH_AUTH_SERVICE_ASKED,
    MSSH_AUTH_SERVICE_ACCEPTED
} mssh_auth_service;

struct mssh_auth {
    mssh_mem *mem;
    const mssh_outbox *outbox;
    mssh_failure *failure;
    mssh_auth_service service;
    const mssh_auth_method *asked; /* the request that the server has to answer; NULL: it is our turn */
    bool succeeded;
    bool change_open;   /* PASSWORD_CHANGE was the last answer */
    bool prompts_open;  /* PROMPTS was the last answer */
    uint32_t n_prompts; /* of these prompts */
    unsigned n_attempts;
    unsigned n_rounds; /* of prompts, in this request */
    size_t banner_len; /* bytes of banners so far */
    mssh_buf probed;   /* string algorithm, string blob: what PK_OK must repeat */
};

/* The row of a kind of request. */
const mssh_auth_method *mssh_auth_method_of(mssh_auth_kind kind);

/* First half of a request: checks that one may be made now, and starts its message in *message (initialised
 * here, to be freed by the caller in any case) with the fields that all have (RFC 4252 5). */
int mssh_auth_begin(mssh_auth *auth, mssh_auth_kind kind, mssh_slice user, mssh_buf *message);

/* Second half: sends the message, after the service request if that was not sent yet. */
int mssh_auth_submit(mssh_auth *auth, mssh_auth_kind kind, mssh_buf *message);

/* The meanings of message 60: PASSWD_CHANGEREQ (RFC 4252 8), PK_OK (RFC 4252 7), INFO_REQUEST (RFC 4256 3.2).
 * 0, or a failure that is recorded. */
int mssh_auth_handle_password_change(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event);
int mssh_auth_handle_pk_ok(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event);
int mssh_auth_handle_prompts(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event);

/* The kind of request that a claim is made by. */
mssh_auth_kind mssh_auth_kind_of(const mssh_auth_claim *claim);

/* Records that a message of the server is out of form; returns MSSH_ERR_PROTOCOL. */
int mssh_auth_malformed(mssh_auth *auth, const char *message);

#endif
