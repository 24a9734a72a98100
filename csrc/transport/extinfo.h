/*
 * SSH_MSG_EXT_INFO (RFC 8308).
 */
#ifndef MSSH_TRANSPORT_EXTINFO_H
#define MSSH_TRANSPORT_EXTINFO_H

#include "base/buf.h"
#include "base/error.h"

/* Most extensions in one message, and most messages. */
enum { MSSH_EXT_INFO_MAX_ENTRIES = 64, MSSH_EXT_INFO_MAX_MESSAGES = 2 };

/* What an EXT_INFO says, as far as it is known here. */
typedef struct mssh_extinfo {
    bool has_sig_algs;
    mssh_slice sig_algs; /* the value of server-sig-algs, a view */
    bool hostbound;      /* publickey-hostbound@openssh.com, version 0 */
} mssh_extinfo;

/* Parses a payload, its message number included. Extensions not known are passed over. 0 or
 * MSSH_ERR_PROTOCOL, said in *failure. */
int mssh_extinfo_parse(mssh_slice payload, mssh_extinfo *info, mssh_failure *failure);

/* Appends the payload of a server's EXT_INFO: server-sig-algs with all signature algorithms known. 0 or
 * out->error. */
int mssh_extinfo_write(mssh_buf *out);

#endif
