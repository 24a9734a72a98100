/*
 * Incoming binary packets (RFC 4253 6): the input buffer, cut into packets, opened in place.
 *
 * The buffer starts small, grows while reads fill it and is given back when they no longer do. A payload
 * handed out is a view into it (into another buffer if it was compressed).
 */
#ifndef MSSH_TRANSPORT_PACKET_IN_H
#define MSSH_TRANSPORT_PACKET_IN_H

#include "base/error.h"
#include "transport/compress.h"
#include "transport/seal.h"

typedef struct mssh_packet_in {
    mssh_buf bytes;
    mssh_buf plain;        /* the payload handed out, when it was compressed */
    mssh_buf original;     /* copy of a packet whose tag may turn out wrong, when asked about */
    mssh_seal *seal;       /* owned */
    mssh_inflate *inflate; /* owned; NULL: not compressed */
    size_t max_packet;     /* largest packet_length accepted */
    size_t read_size;      /* room wanted for a read */
    size_t room;           /* given for the read that is under way */
    unsigned n_small;      /* reads in a row that left most of the room empty */
    size_t taken;          /* bytes at the start that belong to the payload handed out */
    uint32_t length;       /* packet_length of the packet begun; 0: not known yet */
    uint32_t seq;
    bool wrapped;  /* the sequence number has passed 2^32-1 */
    bool opened;   /* the packet begun was let in although its MAC is wrong */
    bool ask_mac;  /* a wrong MAC is a question */
    bool refusing; /* a packet is refused without telling when: `to_waste` bytes more are taken first */
    size_t to_waste;
    uint64_t packets; /* since the keys in use were taken into use */
    uint64_t octets;  /* the same, in bytes on the wire */
} mssh_packet_in;

/* Prepares it for packet_length up to `max_packet`; the caller sets ->seal. */
void mssh_packet_in_init(mssh_packet_in *in, mssh_mem *mem, size_t max_packet);

/* Wipes and frees all it owns. */
void mssh_packet_in_free(mssh_packet_in *in);

/* Room for the next read: a place of *room bytes, NULL when out of memory. */
uint8_t *mssh_packet_in_room(mssh_packet_in *in, size_t *room);

/* Takes `len` bytes that were written there. */
void mssh_packet_in_done(mssh_packet_in *in, size_t len);

typedef enum mssh_packet_result {
    MSSH_PACKET_NONE,    /* more bytes are needed */
    MSSH_PACKET_READY,   /* *payload is the next payload, never empty */
    MSSH_PACKET_QUESTION /* its MAC is wrong: *payload is what there is to see of it */
} mssh_packet_result;

/* The next packet. A result, or a negative mssh_err, said in *failure. The payload is valid until release, or
 * the next call of this. */
int mssh_packet_in_next(mssh_packet_in *in, mssh_slice *payload, mssh_failure *failure);

/* Drops the packet whose payload was handed out. */
void mssh_packet_in_release(mssh_packet_in *in);

/* Lets in the packet that was the question; it comes with the next call of next. 0 or an mssh_err, said in
 * *failure. */
int mssh_packet_in_accept(mssh_packet_in *in, mssh_failure *failure);

/* Gives back what holds nothing. */
void mssh_packet_in_trim(mssh_packet_in *in);

/* Refuses the packet that was the question, as if it had not been asked: at once, or, where the cipher asks
 * for it, in some call of next. 0, or MSSH_ERR_MAC, said in *failure. */
int mssh_packet_in_refuse(mssh_packet_in *in, mssh_failure *failure);

/* Takes new keys into use with the packet after the one handed out; owns them. */
void mssh_packet_in_rekey(mssh_packet_in *in, mssh_seal *seal, mssh_inflate *inflate, bool reset_seq);

#endif
