/*
 * What the parts of SFTP share within this folder: the machine's state, lanes and transfers.
 */
#ifndef MSSH_SFTP_STATE_H
#define MSSH_SFTP_STATE_H

#include "sftp/requests.h"
#include "sftp/sftp.h"

typedef struct mssh_lane {
    struct mssh_sftp *sftp;
    struct mssh_transfer *transfer;
    struct mssh_lane *next_of_sftp; /* in a ring */
    struct mssh_lane *previous_of_sftp;
    struct mssh_lane *next_of_transfer;
    uint32_t n_flying; /* blocks that are not answered */
    size_t handle_len;
    uint8_t handle[MSSH_SFTP_HANDLE_MOST];
} mssh_lane;

typedef struct mssh_block {
    uint64_t offset;
    uint64_t end; /* where the next begins, or the file ends */
    uint64_t got; /* where what has come of it ends; below offset: nowhere yet */
    bool done;
} mssh_block;

struct mssh_transfer {
    mssh_mem *mem;
    mssh_transfer_options options;
    mssh_transfer_status status;
    uint64_t size; /* as it is known now */
    bool grown;    /* since its size was known */
    uint64_t next; /* offset of the next block */
    uint64_t high; /* end of the last byte received */
    uint64_t told; /* moved, at the last TRANSFER event */
    mssh_block *ring;
    uint64_t n_ring; /* a power of two */
    uint64_t first;  /* numbers of the first block that is not done, and of the next one */
    uint64_t last;
    mssh_lane *lanes;
    bool has_news;
    struct mssh_sftp *news_at; /* whose list of news it is in, or NULL */
    struct mssh_transfer *next_news;
};

typedef enum mssh_sftp_expect {
    MSSH_SFTP_EXPECT_HEAD,
    MSSH_SFTP_EXPECT_BODY, /* of a reply that is collected */
    MSSH_SFTP_EXPECT_SIZE, /* uint32 before the data of a block */
    MSSH_SFTP_EXPECT_DATA, /* of a block */
    MSSH_SFTP_EXPECT_NOTHING
} mssh_sftp_expect;

struct mssh_sftp {
    mssh_mem *mem;
    mssh_connection *connection;
    mssh_channel channel;
    bool ready;
    bool failure_told;
    mssh_failure failure;

    mssh_sftp_expect expect;
    uint8_t head[MSSH_SFTP_HEAD_LEN];
    size_t head_len;
    uint8_t type;       /* of the packet that is coming */
    uint32_t id;        /* its id */
    uint32_t left;      /* bytes of it that are to come */
    uint32_t block_len; /* of the block that is coming */
    mssh_buf body;

    mssh_buf out;
    mssh_sftp_requests requests;
    mssh_lane *lanes; /* a ring: the one whose turn is next */
    mssh_transfer *news;
    mssh_transfer *last_news;

    uint64_t now;
    uint64_t delivered; /* bytes of blocks received */
    uint64_t flying;    /* bytes asked for, or sent, that are not answered */
    uint32_t wanted;    /* id of the WRITE that is prepared */
    mssh_sftp_path path;
};

/* Records that the server broke the protocol; everything attached loses its lanes. */
void mssh_sftp_fail(mssh_sftp *sftp, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Appends a packet's head and the handle of a file to what is queued: all of READ but offset and length, or
 * the first part of WRITE. `rest` is the length of what follows the handle. */
int mssh_sftp_write_head(mssh_sftp *sftp, uint8_t type, uint32_t id, const mssh_lane *lane, uint32_t rest);

/* Takes a lane away; what it has on the way counts for nobody. */
void mssh_lane_free(mssh_lane *lane);

/* Whether the transfer has a block to ask for or send now. */
bool mssh_transfer_wants_block(const mssh_transfer *transfer);

/* The next block: number, offset and length, as long as the transfer wants one. MSSH_ERR_MEMORY. */
int mssh_transfer_begin_block(mssh_transfer *transfer, mssh_block *block, uint64_t *number);

/* The block just begun is shorter than planned: a file to be sent had only so many bytes (0: it has ended).
 */
void mssh_transfer_cut_block(mssh_transfer *transfer, uint64_t number, size_t len);

/* `len` bytes of a block, all there were, came or went, beginning at `offset`, where `asked` were asked for.
 * Gives how many of them are to be asked for again, behind these. */
uint32_t mssh_transfer_block_moved(mssh_transfer *transfer, uint64_t number, uint64_t offset, uint32_t len,
                                   uint32_t asked);

/* The file ends at `offset`, or before. */
void mssh_transfer_block_ended(mssh_transfer *transfer, uint64_t number, uint64_t offset);

/* The server refused a block. */
void mssh_transfer_refused(mssh_transfer *transfer, uint64_t offset, uint32_t code, mssh_slice text);

/* Ends a transfer for what happened; the first cause counts. */
void mssh_transfer_end(mssh_transfer *transfer, mssh_transfer_cause cause, int number, uint64_t offset);

/* Puts a transfer with something to tell into the list of a machine, once. */
void mssh_transfer_tell(mssh_transfer *transfer, mssh_sftp *sftp);

/* Takes it out of the list: it is told, or gone. */
void mssh_transfer_untell(mssh_transfer *transfer);

/* Puts it into the list of the machine of another lane, if it has one. */
void mssh_transfer_move_news(mssh_transfer *transfer);

/* What is taken for the path before anything is measured. */
void mssh_path_init(mssh_sftp *sftp);

/* The answer to a request has begun to come. */
void mssh_path_answered(mssh_sftp *sftp, const mssh_sftp_request *request);

/* The answer to the READ of a block is complete: `len` bytes. */
void mssh_block_received(mssh_sftp *sftp, mssh_sftp_request *request, uint32_t len);

/* A block was answered with STATUS. */
void mssh_block_status(mssh_sftp *sftp, mssh_sftp_request *request, mssh_slice body);

#endif
