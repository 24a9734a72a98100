/*
 * The packets of SFTP version 3 (draft-ietf-secsh-filexfer-02): their numbers, and whether a reply is in
 * form.
 */
#ifndef MSSH_SFTP_PACKETS_H
#define MSSH_SFTP_PACKETS_H

#include "sftp/attributes.h"

typedef enum mssh_sftp_type {
    MSSH_SFTP_INIT = 1,
    MSSH_SFTP_VERSION = 2,
    MSSH_SFTP_OPEN = 3,
    MSSH_SFTP_CLOSE = 4,
    MSSH_SFTP_READ = 5,
    MSSH_SFTP_WRITE = 6,
    MSSH_SFTP_STATUS = 101,
    MSSH_SFTP_HANDLE = 102,
    MSSH_SFTP_DATA = 103,
    MSSH_SFTP_NAME = 104,
    MSSH_SFTP_ATTRS = 105,
    MSSH_SFTP_EXTENDED = 200,
    MSSH_SFTP_EXTENDED_REPLY = 201
} mssh_sftp_type;

enum {
    MSSH_SFTP_OK = 0,  /* status: done */
    MSSH_SFTP_EOF = 1, /* status: no more data or names */
    MSSH_SFTP_OUR_VERSION = 3,
    MSSH_SFTP_PACKET_MOST = 262144, /* longest packet taken or sent, without its length field */
    MSSH_SFTP_HANDLE_MOST = 256,    /* longest handle (section 3) */
    MSSH_SFTP_NAMES_MOST = 65536,   /* most names in one reply */
    MSSH_SFTP_HEAD_LEN = 9          /* uint32 length, byte type, uint32 id (of VERSION: the version) */
};

/* Whether the body of a reply, which follows the id, is in form for its type: every field there, counts that
 * fit, nothing left over but what the draft allows (STATUS without message, as old servers send it). */
bool mssh_sftp_reply_valid(uint8_t type, mssh_slice body);

/* The code and the message of a STATUS body in form; an empty message where there is none. */
uint32_t mssh_sftp_status_code(mssh_slice body);
mssh_slice mssh_sftp_status_text(mssh_slice body);

/* The attributes of an ATTRS body in form. */
void mssh_sftp_attributes_of(mssh_slice body, mssh_sftp_attributes *attributes);

/* One name of a NAME body, and what is left of them. */
typedef struct mssh_sftp_name {
    mssh_slice name;
    mssh_sftp_attributes attributes;
} mssh_sftp_name;

typedef struct mssh_sftp_names {
    mssh_reader reader;
    uint32_t n_left;
} mssh_sftp_names;

/* Starts on a NAME body in form; takes one name off, false when there is none left. */
mssh_sftp_names mssh_sftp_names_of(mssh_slice body);
bool mssh_sftp_names_next(mssh_sftp_names *names, mssh_sftp_name *name);

/* Whether the rest of a VERSION packet is in form: pairs of names and data. */
bool mssh_sftp_version_valid(mssh_slice body);

/* Takes one extension off the rest of a VERSION packet; false at its end. */
bool mssh_sftp_extension(mssh_slice *body, mssh_slice *name, mssh_slice *data);

#endif
