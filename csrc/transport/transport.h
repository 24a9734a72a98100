/*
 * The SSH transport layer (RFC 4253, 8308, 8332, 8731, 4419; OpenSSH's PROTOCOL for strict key exchange) as a
 * pull machine, client or server: bytes go in, events and payloads come out, bytes to send come out. No
 * socket, no clock, no call-out.
 *
 * Feed it through mssh_transport_input / _input_done, then call mssh_transport_next until it gives NONE, then
 * send what mssh_transport_output shows. After the first failure next gives FAILED for ever; output may still
 * hold a DISCONNECT.
 */
#ifndef MSSH_TRANSPORT_TRANSPORT_H
#define MSSH_TRANSPORT_TRANSPORT_H

#include "base/buf.h"
#include "base/error.h"
#include "keys/key.h"

typedef enum mssh_role { MSSH_CLIENT, MSSH_SERVER } mssh_role;

/* Classes of negotiated algorithms; cipher, MAC and compression are offered alike for both directions. */
typedef enum mssh_algorithm_class {
    MSSH_ALG_KEX,
    MSSH_ALG_HOST_KEY,
    MSSH_ALG_CIPHER,
    MSSH_ALG_MAC,
    MSSH_ALG_COMPRESSION,
    MSSH_N_ALG_CLASSES
} mssh_algorithm_class;

typedef struct mssh_transport_options {
    mssh_role role;
    const char *software; /* for the identification string, e.g. "moonssh_0.1" */
    mssh_slice
        algorithms[MSSH_N_ALG_CLASSES]; /* name-lists in order of preference; empty: the default. Copied */
    bool allow_chacha;                  /* let chacha20-poly1305 be used without strict key exchange */
    bool allow_cbc_etm;                 /* the same for CBC with -etm */
    uint32_t min_rsa_bits;  /* smallest RSA host key accepted, 1024 at least; 0: MSSH_RSA_MIN_BITS */
    bool require_strict;    /* fail unless the peer does strict key exchange */
    uint64_t rekey_bytes;   /* per direction; 0: 1 GiB */
    uint64_t rekey_packets; /* per direction; 0: 2^31 */
    uint64_t rekey_ms;      /* 0: one hour */
    size_t max_packet; /* largest packet_length accepted once authenticated; 0: 256 KiB. Before that 64 KiB */
    size_t max_queue;  /* bytes queued to send before room is 0; 0: 1 MiB */
    mssh_key *const *host_keys; /* server: private keys, referenced */
    size_t n_host_keys;
} mssh_transport_options;

typedef enum mssh_transport_event_type {
    MSSH_TRANSPORT_NONE,          /* nothing more until more input comes (or a question is answered) */
    MSSH_TRANSPORT_PAYLOAD,       /* a message for the layers above: data */
    MSSH_TRANSPORT_IGNORE,        /* data */
    MSSH_TRANSPORT_DEBUG,         /* always_display, data, language */
    MSSH_TRANSPORT_DISCONNECT,    /* reason, data, language; FAILED follows */
    MSSH_TRANSPORT_UNIMPLEMENTED, /* sequence: of our packet that the peer did not know */
    MSSH_TRANSPORT_HOST_KEY,      /* question: data is the host key blob, its signature is already verified */
    MSSH_TRANSPORT_MAC_ERROR,     /* question: data is what there is to see of the packet */
    MSSH_TRANSPORT_KEX_DONE,      /* both NEWKEYS are through */
    MSSH_TRANSPORT_FAILED         /* see mssh_transport_failure */
} mssh_transport_event_type;

/* Views are valid until the next call of mssh_transport_next. */
typedef struct mssh_transport_event {
    mssh_transport_event_type type;
    mssh_slice data;
    mssh_slice language;
    uint32_t reason;
    uint32_t sequence;
    bool always_display;
} mssh_transport_event;

/* What was negotiated and counted. Names are "" before the first key exchange; views are valid until the next
 * key exchange. */
typedef struct mssh_transport_info {
    mssh_slice client_ident; /* without CR LF */
    mssh_slice server_ident;
    const char *kex;
    const char *host_key;
    const char *cipher_send, *cipher_recv;
    const char *mac_send, *mac_recv; /* "" for AEAD ciphers */
    const char *compression_send, *compression_recv;
    mssh_slice session_id; /* empty before the first exchange hash */
    bool strict;
    uint64_t bytes_sent, bytes_received, packets_sent, packets_received;
    uint32_t rekeys; /* key exchanges after the first */
} mssh_transport_info;

/* Why negotiation failed: the class ("kex", "host_key", "cipher", "mac", "compression", or "strict") and both
 * sides' lists. */
typedef struct mssh_negotiation_failure {
    const char *what; /* NULL: negotiation did not fail */
    mssh_slice ours;
    mssh_slice theirs;
} mssh_negotiation_failure;

typedef struct mssh_transport mssh_transport;

/* A transport in its initial state. The memory, and for a server the keys, must outlive it; the options are
 * copied. MSSH_ERR_UNSUPPORTED (said in *failure) when a list names an algorithm that this build does not
 * know. */
int mssh_transport_new(mssh_mem *mem, const mssh_transport_options *options, mssh_transport **transport,
                       mssh_failure *failure);

/* Wipes and frees it; NULL is fine. */
void mssh_transport_free(mssh_transport *transport);

/* Queues the identification string and KEXINIT, both at once. Call once. */
int mssh_transport_start(mssh_transport *transport);

/* In place of start: what is read and written are bare packets of the connection layer, over a local socket
 * to a process that has exchanged keys and logged in before (OpenSSH's PROTOCOL.mux 10). There is no key
 * exchange any more, and nothing is sent that would end or change the connection of that process.
 * MSSH_ERR_STATE after start. */
int mssh_transport_attach(mssh_transport *transport);

/* Where the next bytes from the peer go: a place with *room bytes. *room is 0 while nothing may be read: a
 * question is open, what was read waits for next, the send queue is over max_queue, or the transport has
 * failed. Valid until the next call that is not input_done. */
uint8_t *mssh_transport_input(mssh_transport *transport, size_t *room);

/* Takes `len` bytes that were written to that place. */
void mssh_transport_input_done(mssh_transport *transport, size_t len);

/* The peer's stream has ended: what is complete is still delivered, then MSSH_ERR_EOF. */
void mssh_transport_input_eof(mssh_transport *transport);

/* The next event. */
void mssh_transport_next(mssh_transport *transport, mssh_transport_event *event);

/* Answers HOST_KEY: true goes on, false sends DISCONNECT 9 and fails with MSSH_ERR_HOST_KEY. MSSH_ERR_STATE
 * when it was not asked. */
int mssh_transport_answer_host_key(mssh_transport *transport, bool accept);

/* Whether a wrong MAC is asked about (MAC_ERROR) or fails at once; off at first. */
void mssh_transport_ask_mac(mssh_transport *transport, bool ask);

/* Answers MAC_ERROR: true delivers the packet as if it had matched and keeps the stream in step, false sends
 * DISCONNECT 5 and fails with MSSH_ERR_MAC. MSSH_ERR_STATE when it was not asked. */
int mssh_transport_answer_mac(mssh_transport *transport, bool accept);

/* Queues one payload, in two parts that are copied. Messages from 5 up that are not key exchange wait while
 * one is under way (bounded: MSSH_ERR_LIMIT past 2 MiB, which fails the transport). */
int mssh_transport_send(mssh_transport *transport, mssh_slice head, mssh_slice body);

/* Queues one payload padded to a multiple of 240 bytes, so that the length of a short secret does not show.
 */
int mssh_transport_send_concealed(mssh_transport *transport, mssh_slice payload);

/* Bytes of bulk payload that may be queued now: what is missing to three quarters of max_queue (the rest is
 * for replies), 0 while a key exchange holds payloads back. */
size_t mssh_transport_room(const mssh_transport *transport);

/* Bytes to send, valid until the next call; empty when there are none. */
mssh_slice mssh_transport_output(mssh_transport *transport);

/* Drops the first `len` bytes of the output: they were sent. */
void mssh_transport_output_done(mssh_transport *transport, size_t len);

/* Tells the time (monotonic, milliseconds); starts a rekey that is due by time. */
void mssh_transport_tick(mssh_transport *transport, uint64_t now_ms);

/* When tick should be called next, in the same clock; UINT64_MAX for never. */
uint64_t mssh_transport_deadline(const mssh_transport *transport);

/* Gives back the storage of buffers that hold nothing, for a session that is to be quiet for a while. It is
 * taken anew when there is need. */
void mssh_transport_trim(mssh_transport *transport);

/* Starts a key exchange now; nothing when one is under way. MSSH_ERR_STATE before the user is authenticated:
 * OpenSSH's server takes part in none until then. Nor is one started by the limits before that; one that the
 * peer starts is. */
int mssh_transport_rekey(mssh_transport *transport);

/* The user is authenticated: messages of the connection protocol are let in, packets may be as large as
 * max_packet, delayed compression starts in both directions with the next packet. */
int mssh_transport_set_authenticated(mssh_transport *transport);

/* Sends SSH_MSG_DISCONNECT and ends: everything after it gives MSSH_ERR_CLOSED. The text is UTF-8. */
int mssh_transport_disconnect(mssh_transport *transport, uint32_t reason, mssh_slice text);

/* Ends the transport from outside, as a failure of the layers above does: DISCONNECT with failure->reason
 * (when not 0) and its message, then the failure sticks. The first failure wins. */
void mssh_transport_fail(mssh_transport *transport, const mssh_failure *failure);

/* The first failure; code 0 while there is none. Valid as long as the transport. */
const mssh_failure *mssh_transport_failure(const mssh_transport *transport);

/* Both sides' lists after MSSH_ERR_NEGOTIATION. */
mssh_negotiation_failure mssh_transport_negotiation(const mssh_transport *transport);

/* What was negotiated and counted so far. */
void mssh_transport_info_get(const mssh_transport *transport, mssh_transport_info *info);

/* The server's host key blob once known (before it is accepted, too); empty before. Valid as long as the
 * transport. */
mssh_slice mssh_transport_host_key(const mssh_transport *transport);

/* The host key's signature of the first exchange hash, which is the session's identifier: what shows an agent
 * that the session is with that host. Empty for a server, and before. Valid as long as the transport. */
mssh_slice mssh_transport_host_signature(const mssh_transport *transport);

/* Whether the server has offered publickey-hostbound-v00@openssh.com (OpenSSH's PROTOCOL 3.4). */
bool mssh_transport_is_hostbound(const mssh_transport *transport);

/* The value of server-sig-algs from EXT_INFO (RFC 8308 3.1); *known is false when none came. */
mssh_slice mssh_transport_server_sig_algs(const mssh_transport *transport, bool *known);

/* What is expected next: "identification", "kex", "host_key" or "open" (done, data may flow). For error
 * stages. */
const char *mssh_transport_stage(const mssh_transport *transport);

/* One packet, as the trace shows it: no content. */
typedef struct mssh_trace_record {
    uint8_t sent;   /* 1 sent, 0 received */
    uint8_t number; /* message number */
    uint32_t len;   /* of the payload, uncompressed */
} mssh_trace_record;

/* Switches the trace on or off; off at first. */
void mssh_transport_trace(mssh_transport *transport, bool on);

/* Takes the oldest trace record; false when there is none. At most 4,096 wait, further ones are dropped. */
bool mssh_transport_trace_next(mssh_transport *transport, mssh_trace_record *record);

/* The i-th algorithm name of a class this build knows, in order of preference, and whether it is in the
 * default list; NULL past the end. */
const char *mssh_algorithm_at(mssh_algorithm_class cls, size_t i, bool *is_default);

#endif
