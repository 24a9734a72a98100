/*
 * Outgoing binary packets (RFC 4253 6): payloads are copied once, next to each other, into the output buffer
 * and sealed there.
 */
#ifndef MSSH_TRANSPORT_PACKET_OUT_H
#define MSSH_TRANSPORT_PACKET_OUT_H

#include "transport/compress.h"
#include "transport/seal.h"

enum { MSSH_PADDING_POOL = 1024 };

typedef struct mssh_packet_out {
    mssh_buf bytes;
    mssh_buf deflated;
    mssh_seal *seal;       /* owned */
    mssh_deflate *deflate; /* owned; NULL: not compressed */
    uint32_t seq;
    bool wrapped;        /* the sequence number has passed 2^32-1 */
    uint64_t packets;    /* since the keys in use were taken into use */
    uint64_t octets;     /* the same, in bytes on the wire */
    size_t most;         /* most bytes held since the buffer was last empty */
    unsigned n_small;    /* times in a row that it became empty and had held little */
    size_t padding_left; /* unused bytes at the end of the pool */
    uint8_t padding[MSSH_PADDING_POOL];
} mssh_packet_out;

/* Prepares it for at most `max` bytes queued; the caller sets ->seal. */
void mssh_packet_out_init(mssh_packet_out *out, mssh_mem *mem, size_t max);

/* Wipes and frees all it owns. */
void mssh_packet_out_free(mssh_packet_out *out);

/* Appends one packet with the payload `head` + `body`. With `conceal` its size is a multiple of 240 bytes
 * (and the tag), so that the length of a short secret does not show. 0, or an mssh_err: then nothing was
 * appended. */
int mssh_packet_out_send(mssh_packet_out *out, mssh_slice head, mssh_slice body, bool conceal);

/* Drops the first `len` bytes: they were sent. */
void mssh_packet_out_done(mssh_packet_out *out, size_t len);

/* Gives back what holds nothing. */
void mssh_packet_out_trim(mssh_packet_out *out);

/* Takes new keys into use with the next packet; owns them. */
void mssh_packet_out_rekey(mssh_packet_out *out, mssh_seal *seal, mssh_deflate *deflate, bool reset_seq);

#endif
