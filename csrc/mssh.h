/*
 * The C API of a session: transport, authentication and connection composed into one pull machine for a
 * client.
 *
 * Feed bytes (mssh_session_input / _input_done), call mssh_session_next until it gives NONE, send what
 * mssh_session_output shows, call tick at the deadline. Commands queue bytes and never wait. There is no
 * socket, clock, thread or call-out inside. After the first failure next gives FAILED for ever, commands give
 * that failure's code, and output may still hold a DISCONNECT.
 */
#ifndef MSSH_H
#define MSSH_H

#include "auth/auth.h"
#include "connection/connection.h"
#include "sftp/sftp.h"
#include "transport/transport.h"
#include "wire/messages.h"

typedef struct mssh_session mssh_session;

typedef struct mssh_session_options {
    mssh_transport_options transport; /* role must be MSSH_CLIENT */
    mssh_connection_options connection;
} mssh_session_options;

/* X(NAME, "name"): the name is what the Lua binding gives as the event's kind. */
#define MSSH_EVENTS(X)                                                                                       \
    X(NONE, "none")                                                                                          \
    X(IGNORE, "ignore")               /* transport.data */                                                   \
    X(DEBUG, "debug")                 /* transport.always_display, .data, .language */                       \
    X(DISCONNECT, "disconnect")       /* transport.reason, .data, .language; FAILED follows */               \
    X(UNIMPLEMENTED, "unimplemented") /* transport.sequence */                                               \
    X(HOST_KEY, "host_key")           /* question: transport.data */                                         \
    X(MAC_ERROR, "macerror")          /* question: transport.data */                                         \
    X(KEX_DONE, "kex_done")                                                                                  \
    X(BANNER, "banner") /* auth.text, .language */                                                           \
    X(AUTH_SUCCESS, "auth_success")                                                                          \
    X(AUTH_FAILURE, "auth_failure") /* auth.text, .partial */                                                \
    X(AUTH_PK_OK, "auth_pk_ok")                                                                              \
    X(AUTH_PASSWORD_CHANGE, "auth_password_change") /* auth.text, .language */                               \
    X(AUTH_PROMPTS, "auth_prompts")                 /* auth */                                               \
    X(OPENED, "opened")                             /* connection.channel */                                 \
    X(ASKED, "asked")                               /* question: see MSSH_CONNECTION_ASKED */                \
    X(OPEN_FAILED, "open_failed")                   /* connection.channel, .reason, .data, .language */      \
    X(DATA, "data")                                 /* connection.channel, .stream, .data */                 \
    X(WINDOW, "window")                             /* connection.channel */                                 \
    X(CHANNEL_EOF, "eof")                           /* connection.channel */                                 \
    X(CHANNEL_CLOSED, "closed")                     /* connection.channel */                                 \
    X(REPLY, "reply")                               /* connection.channel, .success */                       \
    X(EXIT_STATUS, "exit_status")                   /* connection.channel, .reason */                        \
    X(EXIT_SIGNAL, "exit_signal")       /* connection.channel, .name, .success, .data, .language */          \
    X(REQUEST, "request")               /* connection.channel, .name, .data */                               \
    X(GLOBAL_REPLY, "global_reply")     /* connection.success, .data */                                      \
    X(GLOBAL_REQUEST, "global_request") /* connection.name, .data */                                         \
    X(FAILED, "failed")                 /* see mssh_session_failure */

typedef enum mssh_event_type {
#define MSSH_EVENT_ENUM(id, name) MSSH_EVENT_##id,
    MSSH_EVENTS(MSSH_EVENT_ENUM)
#undef MSSH_EVENT_ENUM
} mssh_event_type;

/* One event: the type, and the event of the layer it comes from. Views are valid until the next call of
 * mssh_session_next. */
typedef struct mssh_event {
    mssh_event_type type;
    union {
        mssh_transport_event transport;
        mssh_auth_event auth;
        mssh_connection_event connection;
    };
} mssh_event;

/* A session that has sent nothing yet. The memory must outlive it. Errors as mssh_transport_new. */
int mssh_session_new(mssh_mem *mem, const mssh_session_options *options, mssh_session **session,
                     mssh_failure *failure);

/* Wipes and frees it with its channels; sends nothing. NULL is fine. */
void mssh_session_free(mssh_session *session);

/* Queues identification and KEXINIT. Call once. */
int mssh_session_start(mssh_session *session);

/* In place of start, see mssh_transport_attach: the session is open at once, for the connection alone. */
int mssh_session_attach(mssh_session *session);

/* See mssh_transport_input, _input_done, _input_eof. */
uint8_t *mssh_session_input(mssh_session *session, size_t *room);
void mssh_session_input_done(mssh_session *session, size_t len);
void mssh_session_input_eof(mssh_session *session);

/* The next event; NONE when there is none. */
void mssh_session_next(mssh_session *session, mssh_event *event);

/* See mssh_transport_output, _output_done, _tick, _deadline. */
mssh_slice mssh_session_output(mssh_session *session);
void mssh_session_output_done(mssh_session *session, size_t len);
void mssh_session_tick(mssh_session *session, uint64_t now_ms);
uint64_t mssh_session_deadline(const mssh_session *session);

/* Ends the session from outside with a failure of the caller's (I/O error, timeout); the first failure wins.
 */
void mssh_session_fail(mssh_session *session, const mssh_failure *failure);

/* The first failure; code 0 while there is none. Valid as long as the session. */
const mssh_failure *mssh_session_failure(const mssh_session *session);

/* Whether authentication has succeeded. */
bool mssh_session_authenticated(const mssh_session *session);

/* The parts, for their own commands: mssh_transport_rekey, mssh_auth_password, mssh_channel_write, …
 * Borrowed; never NULL. Authentication and connection commands give MSSH_ERR_STATE when it is not their time:
 * authentication before the first KEX_DONE or after success, the connection before success. */
mssh_transport *mssh_session_transport(mssh_session *session);
mssh_auth *mssh_session_auth(mssh_session *session);
mssh_connection *mssh_session_connection(mssh_session *session);

/* Sends SSH_MSG_IGNORE or SSH_MSG_DEBUG (RFC 4253 11.2, 11.3). MSSH_ERR_STATE before the first key exchange
 * is done. */
int mssh_session_ignore(mssh_session *session, mssh_slice data);
int mssh_session_debug(mssh_session *session, bool always_display, mssh_slice message, mssh_slice language);

#endif
