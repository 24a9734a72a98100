/*
 * The connection protocol (RFC 4254): global requests and channels.
 *
 * A channel handle is a slot and a generation: a stale one gives MSSH_ERR_NO_CHANNEL, never another channel.
 * Received data are either kept in the channel until they are taken, or consumed on the spot by the caller;
 * the window follows what was consumed, so memory per channel is bounded.
 */
#ifndef MSSH_CONNECTION_CONNECTION_H
#define MSSH_CONNECTION_CONNECTION_H

#include "base/buf.h"
#include "base/error.h"
#include "wire/outbox.h"

typedef uint64_t mssh_channel; /* 0 is no channel */

typedef enum mssh_stream { MSSH_STDOUT = 0, MSSH_STDERR = 1, MSSH_N_STREAMS = 2 } mssh_stream;

/* What the peer may be allowed to open: X(NAME, type on the wire, what its type-specific data are). */
#define MSSH_CONNECTION_KINDS(X)                                                                             \
    X(X11, "x11", ORIGINATOR)                                 /* RFC 4254 6.3.2 */                           \
    X(AGENT, "auth-agent@openssh.com", NOTHING)               /* PROTOCOL.agent of OpenSSH */                \
    X(TCPIP, "forwarded-tcpip", ADDRESS_AND_ORIGINATOR)       /* RFC 4254 7.2 */                             \
    X(STREAMLOCAL, "forwarded-streamlocal@openssh.com", PATH) /* PROTOCOL of OpenSSH, 2.4 */

typedef enum mssh_kind {
#define MSSH_KIND_ENUM(id, type, form) MSSH_KIND_##id,
    MSSH_CONNECTION_KINDS(MSSH_KIND_ENUM)
#undef MSSH_KIND_ENUM
        MSSH_N_KINDS
} mssh_kind;

typedef struct mssh_connection_options {
    size_t max_channels;       /* 0: 1024 */
    uint32_t initial_window;   /* 0: 2 MiB */
    uint32_t max_window;       /* a channel's window grows to at most this; 0: 64 MiB */
    uint64_t max_total_window; /* of all channels together; 0: 256 MiB */
    uint32_t max_packet;       /* largest data packet we accept; 0: 32 KiB */
} mssh_connection_options;

typedef enum mssh_connection_event_type {
    MSSH_CONNECTION_NONE,
    MSSH_CONNECTION_OPENED, /* channel: our open was confirmed */
    MSSH_CONNECTION_ASKED,  /* channel: the peer wants to open it, see mssh_connection_want; name: its type,
                               data: the address or path it was connected to, reason: the port, language and
                               origin_port: whom it comes from */
    MSSH_CONNECTION_OPEN_FAILED, /* channel (released by this), reason, data: text, language */
    MSSH_CONNECTION_DATA,        /* channel, stream, data: keep it (mssh_channel_keep) or consume it
                                    (mssh_channel_consumed) */
    MSSH_CONNECTION_WINDOW,      /* channel: more may be written */
    MSSH_CONNECTION_EOF,         /* channel */
    MSSH_CONNECTION_CLOSED,      /* channel: the peer has closed it; kept data can still be taken */
    MSSH_CONNECTION_REPLY,       /* channel, success: to the oldest request that wanted one */
    MSSH_CONNECTION_EXIT_STATUS, /* channel, reason: the status */
    MSSH_CONNECTION_EXIT_SIGNAL, /* channel, name, success: core dumped, data: message, language */
    MSSH_CONNECTION_REQUEST, /* channel, name, data: another channel request, already answered with FAILURE if
                                it asked */
    MSSH_CONNECTION_GLOBAL_REPLY,  /* success, data: to the oldest global request that wanted one */
    MSSH_CONNECTION_GLOBAL_REQUEST /* name, data: already answered with FAILURE if it asked */
} mssh_connection_event_type;

/* Views are valid until the payload is gone. */
typedef struct mssh_connection_event {
    mssh_connection_event_type type;
    mssh_channel channel;
    mssh_stream stream;
    mssh_slice name;
    mssh_slice data;
    mssh_slice language;
    uint32_t reason;
    uint32_t origin_port;
    bool success;
} mssh_connection_event;

typedef struct mssh_connection mssh_connection;

/* A connection without channels. memory, outbox and failure are borrowed and must outlive it; options are
 * copied. NULL when out of memory. */
mssh_connection *mssh_connection_new(mssh_mem *mem, const mssh_outbox *outbox,
                                     const mssh_connection_options *options, mssh_failure *failure);

/* Frees it with all its channels; sends nothing. NULL is fine. */
void mssh_connection_free(mssh_connection *connection);

/* Channels that are not at their end yet: until both sides have closed it, one counts, also without its
 * handle.
 */
uint32_t mssh_connection_n_channels(const mssh_connection *connection);

/* Handles one payload from the peer (message 80..127); *event says what it means. MSSH_ERR_PROTOCOL, recorded
 * in the failure, for what is out of form or out of place: unknown channel, window overrun, data over the
 * packet limit, … */
int mssh_connection_handle(mssh_connection *connection, mssh_slice payload, mssh_connection_event *event);

/* Sends a global request; `data` is its type-specific part. With want_reply a GLOBAL_REPLY follows, in order.
 */
int mssh_connection_request(mssh_connection *connection, mssh_slice name, bool want_reply, mssh_slice data);

/* Opens a channel of a type with its type-specific data; OPENED or OPEN_FAILED follows. MSSH_ERR_LIMIT when
 * there are too many. */
int mssh_connection_open(mssh_connection *connection, mssh_slice type, mssh_slice data,
                         mssh_channel *channel);

/* Says whether channels of a kind are wanted; none is at first. An open of a wanted kind becomes ASKED, and
 * waits for mssh_channel_accept or mssh_channel_refuse. All others are refused at once, and nothing is kept
 * of them: an unwanted one or one whose fields cannot be true as ADMINISTRATIVELY_PROHIBITED, any when there
 * are max_channels as RESOURCE_SHORTAGE, one of an unknown type as UNKNOWN_CHANNEL_TYPE. */
void mssh_connection_want(mssh_connection *connection, mssh_kind kind, bool wanted);

/* Opens a channel that was ASKED for. MSSH_ERR_STATE when it is open already. */
int mssh_channel_accept(mssh_connection *connection, mssh_channel channel);

/* Refuses a channel that was ASKED for, with a reason of RFC 4254 5.1 and a text of at most 64 bytes; the
 * handle is given up. MSSH_ERR_STATE when it is open already. */
int mssh_channel_refuse(mssh_connection *connection, mssh_channel channel, uint32_t reason, mssh_slice text);

/* Sends a channel request; on a channel that is not confirmed yet, in one flight with others like it as soon
 * as it is. With want_reply a REPLY follows, in order. MSSH_ERR_STATE after close, and while the channel is
 * ASKED for. */
int mssh_channel_request(mssh_connection *connection, mssh_channel channel, mssh_slice name, bool want_reply,
                         mssh_slice data);

/* Sends as many of the bytes as window, packet size and the outbox's room allow; *taken says how many (0 is
 * no error: wait). MSSH_ERR_STATE after eof or close, on either side's close. */
int mssh_channel_write(mssh_connection *connection, mssh_channel channel, mssh_stream stream,
                       mssh_slice bytes, size_t *taken);

/* Bytes, of one packet, that mssh_channel_write is sure to take now; 0 as well where nothing can be written
 * any more. */
size_t mssh_channel_room(mssh_connection *connection, mssh_channel channel);

/* Sends EOF; once. On a channel that is not confirmed yet, behind the requests that wait for that. */
int mssh_channel_eof(mssh_connection *connection, mssh_channel channel);

/* Sends CLOSE; once. Data that still come are dropped. */
int mssh_channel_close(mssh_connection *connection, mssh_channel channel);

/* Gives the handle up, with what is kept in it; sends CLOSE if that was not done, or refuses what was only
 * ASKED for. The slot is used again when both sides have closed. */
void mssh_channel_release(mssh_connection *connection, mssh_channel channel);

/* Stores data of a DATA event in the channel. */
int mssh_channel_keep(mssh_connection *connection, mssh_channel channel, mssh_stream stream, mssh_slice data);

/* The data kept for a stream, valid until the next change; empty when there are none or the handle is stale.
 */
mssh_slice mssh_channel_kept(mssh_connection *connection, mssh_channel channel, mssh_stream stream);

/* Takes the first `len` kept bytes away and credits the window. */
void mssh_channel_take(mssh_connection *connection, mssh_channel channel, mssh_stream stream, size_t len);

/* Credits the window for `len` bytes of a DATA event that were consumed without being kept. Sends
 * WINDOW_ADJUST when it is worth it, and lets the window grow when the peer has used it up although the data
 * were consumed at once. */
void mssh_channel_consumed(mssh_connection *connection, mssh_channel channel, size_t len);

/* Makes a channel's window at least `size` bytes, as far as the limits allow: for who knows beforehand how
 * much is coming, and consumes it at once. */
void mssh_channel_widen(mssh_connection *connection, mssh_channel channel, uint32_t size);

/* What is known of a channel. */
typedef struct mssh_channel_state {
    bool open;         /* confirmed, not closed by the peer */
    bool eof_received; /* EOF or CLOSE came */
    bool eof_sent;
    bool close_sent;
    uint32_t send_window;    /* bytes the peer takes now */
    uint32_t receive_window; /* bytes the peer may still send */
    uint32_t window;         /* size the receive window is kept at */
} mssh_channel_state;

/* Fills *state; false for a stale handle. */
bool mssh_channel_state_get(mssh_connection *connection, mssh_channel channel, mssh_channel_state *state);

#endif
