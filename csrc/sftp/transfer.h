/*
 * A file on its way: which blocks are asked for, what is on the way and what is done. It is attached to one
 * or more SFTP channels by lanes, each with a handle of the same remote file, and its blocks go to whichever
 * has room. It does no input or output of its own.
 *
 * Received: each block is asked for; a short one is asked for again from where it ended; the last block asks
 * for one byte beyond the size that is known, so that the same reply tells the end, or that the file has
 * grown. Sent: blocks follow each other until the file ends.
 */
#ifndef MSSH_SFTP_TRANSFER_H
#define MSSH_SFTP_TRANSFER_H

#include "base/mem.h"
#include "base/slice.h"

#define MSSH_TRANSFER_UNKNOWN UINT64_MAX

typedef enum mssh_transfer_state {
    MSSH_TRANSFER_MOVING,
    MSSH_TRANSFER_DONE,
    MSSH_TRANSFER_FAILED
} mssh_transfer_state;

/* What ended a transfer that failed. */
typedef enum mssh_transfer_cause {
    MSSH_TRANSFER_BY_NOTHING,
    MSSH_TRANSFER_BY_STATUS, /* number: the server's status, text: its message */
    MSSH_TRANSFER_BY_FILE,   /* number: errno of the local file */
    MSSH_TRANSFER_BY_CHANGE, /* the remote file changed while it was read */
    MSSH_TRANSFER_BY_CHANNEL /* its channels are gone; number: an mssh_err */
} mssh_transfer_cause;

typedef struct mssh_transfer_options {
    bool sends;      /* to the server */
    uint64_t offset; /* where to begin */
    uint64_t size;   /* of the file as far as it is known, or MSSH_TRANSFER_UNKNOWN */
    uint32_t block;  /* most bytes of a request, at least 1 */
    uint64_t spread; /* most bytes between what is done without a gap and what is asked for */
    uint64_t step;   /* bytes between TRANSFER events; 0: only the end is told */
    void *user;      /* of the caller's */
} mssh_transfer_options;

enum { MSSH_TRANSFER_TEXT = 256 };

typedef struct mssh_transfer_status {
    mssh_transfer_state state;
    uint64_t low;   /* all before this offset is done */
    uint64_t moved; /* bytes that were moved, in whatever order */
    uint64_t end;   /* of the file, or MSSH_TRANSFER_UNKNOWN */
    size_t n_lanes;
    mssh_transfer_cause cause;
    int number;
    uint64_t offset; /* where it failed */
    size_t text_len;
    char text[MSSH_TRANSFER_TEXT]; /* raw bytes of the server's */
} mssh_transfer_status;

typedef struct mssh_transfer mssh_transfer;

/* A transfer without lanes; options are copied. NULL when out of memory. */
mssh_transfer *mssh_transfer_new(mssh_mem *mem, const mssh_transfer_options *options);

/* Takes it off its lanes, whatever is still on the way, and frees it. NULL is fine. */
void mssh_transfer_free(mssh_transfer *transfer);

/* What the options named as the user's. */
void *mssh_transfer_user(const mssh_transfer *transfer);

/* Ends it for a failure of the local file, an errno, at an offset. The first failure counts. */
void mssh_transfer_fail(mssh_transfer *transfer, int number, uint64_t offset);

/* How far it is; valid until the transfer moves. */
const mssh_transfer_status *mssh_transfer_status_of(const mssh_transfer *transfer);

#endif
