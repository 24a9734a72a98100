/*
 * The inside of a transport, shared by the files that make it up: transport.c (what callers see), outgoing.c
 * (payloads to packets, and what is held back), exchange.c (key exchange from KEXINIT to NEWKEYS), incoming.c
 * (one handler a message). Nothing else but the specs' module looks in here.
 */
#ifndef MSSH_TRANSPORT_STATE_H
#define MSSH_TRANSPORT_STATE_H

#include "transport/gate.h"
#include "transport/ident.h"
#include "transport/kex.h"
#include "transport/packet_in.h"
#include "transport/packet_out.h"

/* Most bytes held back while a key exchange is under way. */
#define MSSH_HELD_MAX ((size_t)2 * 1024 * 1024)

/* Most packets under one set of keys: the sequence number must not repeat (RFC 4344 3.1). */
#define MSSH_KEYS_MOST_PACKETS UINT64_C(0xfffffff0)

/* What a key exchange expects of the peer next. */
typedef enum mssh_exchange_state {
    MSSH_EXCHANGE_IDLE,           /* none is under way */
    MSSH_EXCHANGE_EXPECT_KEXINIT, /* ours is out */
    MSSH_EXCHANGE_EXPECT_METHOD,  /* kex.expected */
    MSSH_EXCHANGE_EXPECT_ANSWER,  /* nothing: the application is asked about the host key */
    MSSH_EXCHANGE_EXPECT_NEWKEYS  /* ours is out */
} mssh_exchange_state;

typedef enum mssh_question { MSSH_QUESTION_NONE, MSSH_QUESTION_HOST_KEY, MSSH_QUESTION_MAC } mssh_question;

struct mssh_transport {
    mssh_mem *mem;
    mssh_transport_options options; /* its strings and arrays are not used after new: copies follow */
    mssh_buf lists[MSSH_N_ALG_CLASSES];
    mssh_key **host_keys;
    size_t n_host_keys;
    uint8_t our_ident[MSSH_IDENT_MAX];
    size_t our_ident_len;
    mssh_ident peer_ident;

    mssh_packet_in in;
    mssh_packet_out out;
    mssh_buf held; /* records: uint32 length, byte kind, payload */
    bool started;
    bool attached; /* to the connection of another process: see attach.c */
    bool eof;
    bool authenticated;
    bool wiped; /* after the failure */
    mssh_question question;

    mssh_exchange_state exchange;
    uint32_t exchange_seq; /* of our last message of the exchange under way */
    mssh_kex kex;
    mssh_buf our_kexinit;
    mssh_choice choice;      /* in use; kex NULL before the first NEWKEYS of the peer */
    mssh_choice next_choice; /* of the exchange under way */
    mssh_seal *next_in;      /* taken into use with the peer's NEWKEYS */
    mssh_seal *next_out;     /* taken into use with ours */
    mssh_compression_start in_compression;
    mssh_compression_start out_compression;
    bool compression_due; /* what is delayed until authentication may start */
    bool first_done;      /* the first key exchange is through */
    bool strict;
    bool skips_wrong_guess;
    bool peer_wants_ext_info;
    uint8_t session_id[MSSH_HASH_MAX];
    size_t session_id_len;
    mssh_buf host_key;
    mssh_buf host_signature; /* of the first exchange's hash, by the host key */

    bool after_newkeys;       /* the next packet is the first one after the peer's first NEWKEYS */
    bool success_must_follow; /* a late EXT_INFO came: only USERAUTH_SUCCESS may be next */
    unsigned n_ext_info;
    mssh_buf sig_algs;
    bool sig_algs_known;
    bool hostbound; /* the server takes publickey-hostbound-v00@openssh.com */

    mssh_failure failure; /* the first one */
    mssh_failure cause;   /* where the layers below say why; code 0 in between */
    mssh_negotiation_failure negotiation;
    mssh_buf their_list;

    bool clock_known;
    uint64_t now_ms;
    uint64_t keys_since_ms;
    uint64_t bytes_sent, bytes_received, packets_sent, packets_received;
    uint32_t rekeys;
    bool tracing;
    mssh_buf trace;
};

/* Ends with t->cause: DISCONNECT with its reason when that is not 0, then it sticks. Nothing after the first.
 */
void mssh_transport_fail_with_cause(mssh_transport *t);

/* Notes a packet for the trace. */
void mssh_transport_note(mssh_transport *t, bool sent, mssh_slice head, size_t len);

/* --- outgoing.c */

/* Queues one packet now, whatever is under way; fails the transport when it cannot. */
int mssh_transport_send_packet(mssh_transport *t, mssh_slice head, mssh_slice body, bool conceal);

/* Queues DISCONNECT, best effort. */
void mssh_transport_send_disconnect(mssh_transport *t, uint32_t reason, mssh_slice text);

/* Sends what was held back. */
void mssh_transport_send_held(mssh_transport *t);

/* The user is authenticated: starts compression that was delayed until then. 0 or an mssh_err. */
int mssh_transport_compress_after_auth(mssh_transport *t);

/* Whether payloads of the layers above have to wait. */
bool mssh_transport_holds(const mssh_transport *t);

/* A stream for a direction with this compression, when it is its time: 0 and *stream, which is NULL when it
 * is not; else MSSH_ERR_MEMORY. */
int mssh_transport_deflate_for(mssh_transport *t, mssh_compression_start start, mssh_deflate **stream);
int mssh_transport_inflate_for(mssh_transport *t, mssh_compression_start start, mssh_inflate **stream);

/* --- exchange.c: each may fail the transport, and gives its event through *event with true */

/* Begins a key exchange: sends our KEXINIT. */
void mssh_exchange_start(mssh_transport *t);

/* Begins one when the limits of bytes, packets or time ask for it. */
void mssh_exchange_start_if_due(mssh_transport *t);

/* The host key was accepted. */
void mssh_exchange_go_on(mssh_transport *t);

/* The messages of a key exchange. */
bool mssh_exchange_on_kexinit(mssh_transport *t, mssh_slice payload);
bool mssh_exchange_on_method(mssh_transport *t, mssh_slice payload, mssh_transport_event *event);
bool mssh_exchange_on_newkeys(mssh_transport *t, mssh_slice payload, mssh_transport_event *event);

/* Frees what the exchange under way holds. */
void mssh_exchange_free(mssh_transport *t);

/* --- incoming.c */

/* What the gate has to know now. */
mssh_gate mssh_transport_gate(const mssh_transport *t);

/* Takes one payload. True when *event is filled in; the transport may have failed. */
bool mssh_transport_dispatch(mssh_transport *t, mssh_slice payload, mssh_transport_event *event);

#endif
