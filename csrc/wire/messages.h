/*
 * The message catalogue: every message number of SSH-2 that this library sends or accepts, as rows.
 *
 * X(number, NAME, sender, phases). The sender is MSSH_BY_CLIENT, MSSH_BY_SERVER or MSSH_BY_BOTH. The phases
 * tell when the receiver may accept it; the gate (transport/gate.h) rejects it everywhere else. Numbers 30-34
 * and 60-66 belong to the method in progress and stand once, with the name of their range.
 */
#ifndef MSSH_WIRE_MESSAGES_H
#define MSSH_WIRE_MESSAGES_H

#include <stdint.h>

/* Who may send a message. */
enum { MSSH_BY_CLIENT = 1, MSSH_BY_SERVER = 2, MSSH_BY_BOTH = 3 };

/* When a message may arrive. */
enum {
    MSSH_IN_STRICT_KEX =
        1,                 /* the first key exchange, under strict key exchange (from the second packet on) */
    MSSH_IN_FIRST_KEX = 2, /* the first key exchange otherwise */
    MSSH_IN_REKEY = 4,     /* a later one: between the peer's KEXINIT and its NEWKEYS */
    MSSH_IN_AUTH = 8,      /* after the first NEWKEYS, until authentication has succeeded */
    MSSH_IN_OPEN = 16,     /* after authentication */
};

#define MSSH_IN_KEX  (MSSH_IN_STRICT_KEX | MSSH_IN_FIRST_KEX | MSSH_IN_REKEY)
#define MSSH_IN_REST (MSSH_IN_AUTH | MSSH_IN_OPEN)

#define MSSH_MESSAGES(X)                                                                                     \
    X(1, DISCONNECT, MSSH_BY_BOTH, MSSH_IN_KEX | MSSH_IN_REST)                                               \
    X(2, IGNORE, MSSH_BY_BOTH, MSSH_IN_FIRST_KEX | MSSH_IN_REKEY | MSSH_IN_REST)                             \
    X(3, UNIMPLEMENTED, MSSH_BY_BOTH, MSSH_IN_FIRST_KEX | MSSH_IN_REKEY | MSSH_IN_REST)                      \
    X(4, DEBUG, MSSH_BY_BOTH, MSSH_IN_FIRST_KEX | MSSH_IN_REKEY | MSSH_IN_REST)                              \
    X(5, SERVICE_REQUEST, MSSH_BY_CLIENT, MSSH_IN_REST)                                                      \
    X(6, SERVICE_ACCEPT, MSSH_BY_SERVER, MSSH_IN_AUTH)                                                       \
    X(7, EXT_INFO, MSSH_BY_BOTH, MSSH_IN_AUTH)                                                               \
    X(20, KEXINIT, MSSH_BY_BOTH, MSSH_IN_KEX | MSSH_IN_REST)                                                 \
    X(21, NEWKEYS, MSSH_BY_BOTH, MSSH_IN_KEX)                                                                \
    X(30, KEX_30, MSSH_BY_BOTH, MSSH_IN_KEX)                                                                 \
    X(31, KEX_31, MSSH_BY_BOTH, MSSH_IN_KEX)                                                                 \
    X(32, KEX_32, MSSH_BY_BOTH, MSSH_IN_KEX)                                                                 \
    X(33, KEX_33, MSSH_BY_BOTH, MSSH_IN_KEX)                                                                 \
    X(34, KEX_34, MSSH_BY_BOTH, MSSH_IN_KEX)                                                                 \
    X(50, USERAUTH_REQUEST, MSSH_BY_CLIENT, MSSH_IN_AUTH)                                                    \
    X(51, USERAUTH_FAILURE, MSSH_BY_SERVER, MSSH_IN_AUTH)                                                    \
    X(52, USERAUTH_SUCCESS, MSSH_BY_SERVER, MSSH_IN_AUTH)                                                    \
    X(53, USERAUTH_BANNER, MSSH_BY_SERVER, MSSH_IN_AUTH)                                                     \
    X(60, USERAUTH_60, MSSH_BY_SERVER, MSSH_IN_AUTH)                                                         \
    X(61, USERAUTH_INFO_RESPONSE, MSSH_BY_CLIENT, MSSH_IN_AUTH)                                              \
    X(80, GLOBAL_REQUEST, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                        \
    X(81, REQUEST_SUCCESS, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                       \
    X(82, REQUEST_FAILURE, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                       \
    X(90, CHANNEL_OPEN, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                          \
    X(91, CHANNEL_OPEN_CONFIRMATION, MSSH_BY_BOTH, MSSH_IN_OPEN)                                             \
    X(92, CHANNEL_OPEN_FAILURE, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                  \
    X(93, CHANNEL_WINDOW_ADJUST, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                 \
    X(94, CHANNEL_DATA, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                          \
    X(95, CHANNEL_EXTENDED_DATA, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                 \
    X(96, CHANNEL_EOF, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                           \
    X(97, CHANNEL_CLOSE, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                         \
    X(98, CHANNEL_REQUEST, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                       \
    X(99, CHANNEL_SUCCESS, MSSH_BY_BOTH, MSSH_IN_OPEN)                                                       \
    X(100, CHANNEL_FAILURE, MSSH_BY_BOTH, MSSH_IN_OPEN)

/* Message numbers: MSSH_MSG_KEXINIT and so on. */
enum mssh_message {
#define MSSH_MESSAGE_ENUM(number, name, sender, phases) MSSH_MSG_##name = (number),
    MSSH_MESSAGES(MSSH_MESSAGE_ENUM)
#undef MSSH_MESSAGE_ENUM
};

/* Numbers that depend on the method in progress (RFC 4253 8, RFC 4419, RFC 4252 7 and 8, RFC 4256). */
enum {
    MSSH_MSG_KEX_DH_INIT = 30,  /* and KEX_ECDH_INIT */
    MSSH_MSG_KEX_DH_REPLY = 31, /* and KEX_ECDH_REPLY */
    MSSH_MSG_KEX_GEX_GROUP = 31,
    MSSH_MSG_KEX_GEX_INIT = 32,
    MSSH_MSG_KEX_GEX_REPLY = 33,
    MSSH_MSG_KEX_GEX_REQUEST = 34,
    MSSH_MSG_USERAUTH_PK_OK = 60,
    MSSH_MSG_USERAUTH_PASSWD_CHANGEREQ = 60,
    MSSH_MSG_USERAUTH_INFO_REQUEST = 60,
};

/* DISCONNECT reason codes (RFC 4253 11.1). */
enum {
    MSSH_DISCONNECT_PROTOCOL_ERROR = 2,
    MSSH_DISCONNECT_KEY_EXCHANGE_FAILED = 3,
    MSSH_DISCONNECT_MAC_ERROR = 5,
    MSSH_DISCONNECT_COMPRESSION_ERROR = 6,
    MSSH_DISCONNECT_PROTOCOL_VERSION_NOT_SUPPORTED = 8,
    MSSH_DISCONNECT_HOST_KEY_NOT_VERIFIABLE = 9,
    MSSH_DISCONNECT_BY_APPLICATION = 11,
};

/* CHANNEL_OPEN_FAILURE reason codes (RFC 4254 5.1). */
enum {
    MSSH_OPEN_ADMINISTRATIVELY_PROHIBITED = 1,
    MSSH_OPEN_CONNECT_FAILED = 2,
    MSSH_OPEN_UNKNOWN_CHANNEL_TYPE = 3,
    MSSH_OPEN_RESOURCE_SHORTAGE = 4,
};

typedef struct mssh_message_row {
    uint8_t number;
    uint8_t sender;
    uint8_t phases;
    const char *name;
} mssh_message_row;

/* The row of a message number, or NULL when there is none. */
const mssh_message_row *mssh_message_find(uint8_t number);

/* The name of a message number as in the RFCs without "SSH_MSG_", e.g. "CHANNEL_DATA"; "UNKNOWN" when it has
 * no row. */
const char *mssh_message_name(uint8_t number);

#endif
