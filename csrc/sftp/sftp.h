/*
 * SFTP version 3 (draft-ietf-secsh-filexfer-02) over one channel, as a pull machine: it is given what the
 * channel brings, and writes to the channel what its window takes. No file, clock or call-out inside.
 *
 * A request gets an id; its reply, in whatever order, is an event with that id. What breaks the protocol ends
 * the machine, not the session: FAILED comes once, and every call gives that failure from then on. The blocks
 * of transfers (sftp/transfer.h) are asked for, matched and put together in here.
 */
#ifndef MSSH_SFTP_SFTP_H
#define MSSH_SFTP_SFTP_H

#include "connection/channel.h"
#include "sftp/attributes.h"
#include "sftp/packets.h"
#include "sftp/transfer.h"

typedef struct mssh_sftp mssh_sftp;

typedef enum mssh_sftp_event_type {
    MSSH_SFTP_NOTHING,  /* all bytes were taken */
    MSSH_SFTP_READY,    /* number: the version; body: the extensions, see mssh_sftp_extension */
    MSSH_SFTP_REPLY,    /* id, reply: its type, body: in form for it */
    MSSH_SFTP_BLOCK,    /* transfer, offset, body: to be written to the file there */
    MSSH_SFTP_TRANSFER, /* transfer: has ended, or got on by a step */
    MSSH_SFTP_FAILED    /* see mssh_sftp_failure */
} mssh_sftp_event_type;

/* Views are valid until the next call of mssh_sftp_next. */
typedef struct mssh_sftp_event {
    mssh_sftp_event_type type;
    uint32_t id;
    uint32_t number;
    uint8_t reply;
    mssh_transfer *transfer;
    uint64_t offset;
    mssh_slice body;
} mssh_sftp_event;

/* A machine on a channel of a connection; all are borrowed and must outlive it. NULL when out of memory. */
mssh_sftp *mssh_sftp_new(mssh_mem *mem, mssh_connection *connection, mssh_channel channel);

/* Frees it; transfers lose their lanes in it. NULL is fine. */
void mssh_sftp_free(mssh_sftp *sftp);

/* Sends INIT. READY follows. */
int mssh_sftp_start(mssh_sftp *sftp);

/* Ends it from outside, with its transfers: the channel is closing. */
void mssh_sftp_stop(mssh_sftp *sftp);

/* Takes what the channel has brought up to the next event; *bytes becomes what is left. To be called until it
 * gives NOTHING: an event may be due although there are no more bytes. */
void mssh_sftp_next(mssh_sftp *sftp, mssh_slice *bytes, mssh_sftp_event *event);

/* Queues a request of a type; `body` is what follows the id, `expected` the type of its reply, or 0 where
 * that is STATUS alone (which may always come). MSSH_ERR_STATE before READY, MSSH_ERR_LIMIT when the packet
 * is too long or too many are waiting. */
int mssh_sftp_request_send(mssh_sftp *sftp, uint8_t type, uint8_t expected, mssh_slice body, uint32_t *id);

/* Hands queued requests to the channel as far as its window goes. Gives the bytes that are left. */
size_t mssh_sftp_flush(mssh_sftp *sftp);

/* The clock, in microseconds, for what measures the path. */
void mssh_sftp_tick(mssh_sftp *sftp, uint64_t now_us);

/* Place for a block of a file that is to be sent: `len` bytes from `offset` on go to `place`. */
typedef struct mssh_sftp_want {
    mssh_transfer *transfer;
    uint64_t offset;
    uint8_t *place;
    size_t len;
} mssh_sftp_want;

/* Asks for blocks of the files that are received, as many as the path takes, and sends what is queued. True
 * when a block of a file to be sent is wanted now: it is answered by mssh_sftp_give before anything else. */
bool mssh_sftp_pump(mssh_sftp *sftp, mssh_sftp_want *want);

/* `len` bytes were put in place, 0 at the end of the file. For a failure, mssh_transfer_fail and len 0. */
void mssh_sftp_give(mssh_sftp *sftp, const mssh_sftp_want *want, size_t len);

/* Whether a TRANSFER or FAILED event is due without further bytes. */
bool mssh_sftp_has_news(const mssh_sftp *sftp);

/* What is known of the path. */
typedef struct mssh_sftp_path {
    uint64_t round_trip_us; /* shortest seen; 0: none yet */
    uint64_t rate;          /* bytes a second that files came at lately */
    uint64_t target;        /* bytes of files that are asked for at once */
    uint64_t n_short;       /* times that the channel's window was too short for a file to be sent */
} mssh_sftp_path;

/* Fills *path. */
void mssh_sftp_path_get(const mssh_sftp *sftp, mssh_sftp_path *path);

/* The first failure; code 0 while there is none. */
const mssh_failure *mssh_sftp_failure(const mssh_sftp *sftp);

/* Adds a lane to a transfer: it may use this channel with this handle of the file. MSSH_ERR_LIMIT for a
 * handle that is too long, MSSH_ERR_MEMORY, or the failure of the machine. */
int mssh_sftp_attach(mssh_sftp *sftp, mssh_transfer *transfer, mssh_slice handle);

#endif
