/*
 * The requests of one SFTP channel that are not answered yet. An id is a place in the table and the number of
 * its use, so that a reply finds its request at once, and one that is unknown, or comes twice, finds none.
 */
#ifndef MSSH_SFTP_REQUESTS_H
#define MSSH_SFTP_REQUESTS_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum { MSSH_SFTP_REQUESTS_MOST = 16384 };

struct mssh_lane;

typedef struct mssh_sftp_request {
    uint32_t id;
    bool used;
    uint8_t expected;       /* type of the reply that is no STATUS, or 0: only STATUS */
    bool is_block;          /* READ or WRITE of a transfer */
    struct mssh_lane *lane; /* of a block; NULL when its transfer has gone */
    uint64_t block;         /* which block of the transfer */
    uint64_t offset;
    uint32_t len;
    uint32_t next_free;
    uint64_t sent_at;   /* clock and count at the time of sending, to measure the path */
    uint64_t delivered; /* bytes that the channel had brought by then */
} mssh_sftp_request;

typedef struct mssh_sftp_requests {
    mssh_mem *mem;
    mssh_sftp_request *slots;
    uint32_t n_slots; /* those ever used; the others are beyond */
    uint32_t cap;
    uint32_t first_free; /* index + 1; 0: none */
    uint32_t n_used;
} mssh_sftp_requests;

/* An empty table; allocates nothing. */
void mssh_sftp_requests_init(mssh_sftp_requests *requests, mssh_mem *mem);

/* Frees the table. */
void mssh_sftp_requests_free(mssh_sftp_requests *requests);

/* A new request with its id, all else zero, valid until the next is added. MSSH_ERR_LIMIT when there are
 * MSSH_SFTP_REQUESTS_MOST, MSSH_ERR_MEMORY. */
int mssh_sftp_requests_add(mssh_sftp_requests *requests, mssh_sftp_request **request);

/* The request of an id, or NULL. */
mssh_sftp_request *mssh_sftp_requests_find(mssh_sftp_requests *requests, uint32_t id);

/* Takes a request off the table. */
void mssh_sftp_requests_remove(mssh_sftp_requests *requests, mssh_sftp_request *request);

#endif
