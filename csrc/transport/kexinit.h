/*
 * SSH_MSG_KEXINIT and the choice of algorithms (RFC 4253 7.1; RFC 8308 2.1 and OpenSSH's PROTOCOL 1.10 for
 * the names that are no algorithms but marks).
 */
#ifndef MSSH_TRANSPORT_KEXINIT_H
#define MSSH_TRANSPORT_KEXINIT_H

#include "transport/algorithms.h"

/* The ten name-lists in the order of the message. Those for both directions stand client to server first. */
enum {
    MSSH_LIST_KEX,
    MSSH_LIST_HOST_KEY,
    MSSH_LIST_CIPHER,
    MSSH_LIST_MAC = MSSH_LIST_CIPHER + 2,
    MSSH_LIST_COMPRESSION = MSSH_LIST_MAC + 2,
    MSSH_LIST_LANGUAGE = MSSH_LIST_COMPRESSION + 2,
    MSSH_N_LISTS = MSSH_LIST_LANGUAGE + 2
};

/* A KEXINIT of the peer; views into its payload. */
typedef struct mssh_kexinit {
    mssh_slice lists[MSSH_N_LISTS];
    bool follows; /* the packet after it belongs to the key exchange that the peer guessed */
} mssh_kexinit;

/* Parses a payload, its message number included. Every list must be well formed within the caps of
 * wire/namelist.h, but for the languages, which are not looked at; the reserved field may have any value (it
 * is for extensions). Nothing may be left over. 0 or MSSH_ERR_PROTOCOL, said in *failure. */
int mssh_kexinit_parse(mssh_slice payload, mssh_kexinit *kexinit, mssh_failure *failure);

/* Appends the payload of our KEXINIT with a fresh cookie. `lists` has one list a class; `first` adds the
 * marks of strict key exchange and of EXT_INFO, which only the first KEXINIT has. 0 or an mssh_err. */
int mssh_kexinit_write(mssh_buf *out, mssh_role role, const mssh_slice *lists, bool first);

/* Whether the peer's first KEXINIT has the mark of strict key exchange, and of EXT_INFO. */
bool mssh_kexinit_is_strict(const mssh_kexinit *peer, mssh_role our_role);
bool mssh_kexinit_wants_ext_info(const mssh_kexinit *peer, mssh_role our_role);

/* What one direction uses. */
typedef struct mssh_direction {
    const mssh_cipher_row *cipher;
    const mssh_mac_row *mac; /* NULL: the cipher is an AEAD */
    const mssh_compression_row *compression;
} mssh_direction;

typedef struct mssh_choice {
    const mssh_kex_row *kex;
    const char *host_key;
    mssh_direction to_server;
    mssh_direction to_client;
} mssh_choice;

/* Chooses by RFC 4253 7.1: the client's first name that the server has too. `ours` has one list a class. 0,
 * or MSSH_ERR_NEGOTIATION with *why, whose views point into `ours` and the peer's KEXINIT. */
int mssh_kexinit_choose(mssh_role our_role, const mssh_slice *ours, const mssh_kexinit *peer,
                        mssh_choice *choice, mssh_negotiation_failure *why);

/* Whether the key exchange that the peer guessed is the one chosen: both sides prefer the same method and the
 * same kind of host key. */
bool mssh_kexinit_guess_is_right(const mssh_slice *ours, const mssh_kexinit *peer);

#endif
