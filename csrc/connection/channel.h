/*
 * What the parts of the connection share within this folder: the connection's state, its channels, and one
 * handler for each message.
 */
#ifndef MSSH_CONNECTION_CHANNEL_H
#define MSSH_CONNECTION_CHANNEL_H

#include "connection/connection.h"
#include "connection/window.h"
#include "wire/reader.h"

typedef enum mssh_channel_phase {
    MSSH_CHANNEL_FREE,
    MSSH_CHANNEL_OPENING, /* our CHANNEL_OPEN is not answered yet */
    MSSH_CHANNEL_ASKED,   /* the peer's is not */
    MSSH_CHANNEL_OPEN     /* confirmed; stays so until both sides have closed and the handle is given up */
} mssh_channel_phase;

typedef struct mssh_channel_slot {
    mssh_channel_phase phase;
    uint32_t id;         /* its index: our number for the channel on the wire */
    uint32_t generation; /* of the handle that is valid now */
    bool released;       /* the handle was given up */
    bool close_wanted;   /* CLOSE is to be sent as soon as the open is confirmed */
    bool eof_wanted;     /* so is EOF */
    bool eof_sent;
    bool close_sent;
    bool eof_received;
    bool close_received;
    uint32_t peer_id;
    uint32_t send_window;
    uint32_t send_max;     /* largest packet of data the peer takes, or we care to send */
    uint64_t n_unanswered; /* requests of ours that want a reply */
    mssh_window window;    /* what the peer may send */
    mssh_buf kept[MSSH_N_STREAMS];
    mssh_buf early; /* requests to be sent with the confirmation: each a string of what follows the number */
} mssh_channel_slot;

struct mssh_connection {
    mssh_mem *mem;
    const mssh_outbox *outbox;
    mssh_failure *failure;
    mssh_connection_options options; /* without zeros */
    mssh_channel_slot **slots;       /* each allocated once; an index stands for it on the wire */
    uint32_t n_slots;
    uint32_t slots_cap;
    uint32_t n_used;       /* slots that are not free */
    uint64_t total_window; /* of the slots in use */
    uint64_t n_unanswered; /* global requests of ours that want a reply */
    bool wanted[MSSH_N_KINDS];
};

/* A message head on the stack: number, fields, names. */
typedef struct mssh_head {
    uint8_t bytes[160];
    size_t len;
} mssh_head;

/* Longest name of a channel type or request that we send (RFC 4250 4.6.1), and most bytes of their data. */
enum { MSSH_CONNECTION_MAX_NAME = 64, MSSH_CONNECTION_MAX_DATA = 65536 };

/* A head that starts with a message number. */
mssh_head mssh_head_of(uint8_t number);

/* Appends a field. A text is at most MSSH_CONNECTION_MAX_NAME bytes; two of them fit. */
void mssh_head_u8(mssh_head *head, uint8_t value);
void mssh_head_u32(mssh_head *head, uint32_t value);
void mssh_head_string(mssh_head *head, mssh_slice text);

/* Sends the head with a body (may be empty). */
int mssh_head_send(const mssh_head *head, mssh_connection *connection, mssh_slice body);

/* Sends a message to the peer's end of a channel that has no further fields. */
int mssh_channel_send(mssh_connection *connection, const mssh_channel_slot *slot, uint8_t number);

/* Answers a CHANNEL_OPEN of the peer's with CHANNEL_OPEN_FAILURE. */
int mssh_connection_refuse(mssh_connection *connection, uint32_t peer_id, uint32_t reason, mssh_slice text);

/* Sends what was asked of a channel before it was confirmed. */
int mssh_channel_send_early(mssh_connection *connection, mssh_channel_slot *slot);

/* Takes over what the peer says of its end of a channel. */
void mssh_channel_set_peer(mssh_channel_slot *slot, uint32_t peer_id, uint32_t window, uint32_t max_packet);

/* Finds the slot of a handle; NULL when it is stale. */
mssh_channel_slot *mssh_channel_find(mssh_connection *connection, mssh_channel channel);

/* The handle of a slot. */
mssh_channel mssh_channel_handle(const mssh_channel_slot *slot);

/* A slot for a new channel, in phase OPENING, with its receive window: MSSH_ERR_LIMIT, MSSH_ERR_MEMORY. */
int mssh_channel_new(mssh_connection *connection, mssh_channel_slot **slot);

/* Frees what a slot holds; its handle becomes stale and it may be used again. */
void mssh_channel_drop(mssh_connection *connection, mssh_channel_slot *slot);

/* Sends EOF if that was not done. */
int mssh_channel_send_eof(mssh_connection *connection, mssh_channel_slot *slot);

/* Sends CLOSE if that was not done. */
int mssh_channel_send_close(mssh_connection *connection, mssh_channel_slot *slot);

/* Grants the peer what is due, in a window grown to the need. */
void mssh_channel_settle(mssh_connection *connection, mssh_channel_slot *slot);

/* Window left to a new channel: the room below max_total_window, some of it set aside for channels to come.
 */
uint32_t mssh_connection_window(const mssh_connection *connection, uint32_t wanted);

/* Records that a message is out of form; returns MSSH_ERR_PROTOCOL. */
int mssh_connection_malformed(mssh_connection *connection, uint8_t number);

/* Records that the peer broke a rule, given as text; returns MSSH_ERR_PROTOCOL. */
int mssh_connection_reject(mssh_connection *connection, const mssh_channel_slot *slot, const char *text);

/* The handlers, one for each message; the reader stands behind the number and, for messages to a channel,
 * behind its number, which is looked up already (slot; else NULL). 0, or a failure that is recorded. */
typedef int mssh_connection_handler(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                                    mssh_connection_event *event);
mssh_connection_handler mssh_handle_global_request;
mssh_connection_handler mssh_handle_request_success;
mssh_connection_handler mssh_handle_request_failure;
mssh_connection_handler mssh_handle_open;
mssh_connection_handler mssh_handle_open_confirmation;
mssh_connection_handler mssh_handle_open_failure;
mssh_connection_handler mssh_handle_window_adjust;
mssh_connection_handler mssh_handle_data;
mssh_connection_handler mssh_handle_extended_data;
mssh_connection_handler mssh_handle_eof;
mssh_connection_handler mssh_handle_close;
mssh_connection_handler mssh_handle_channel_request;
mssh_connection_handler mssh_handle_channel_success;
mssh_connection_handler mssh_handle_channel_failure;

#endif
