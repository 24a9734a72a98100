/*
 * File attributes of SFTP version 3 (draft-ietf-secsh-filexfer-02, section 5).
 */
#ifndef MSSH_SFTP_ATTRIBUTES_H
#define MSSH_SFTP_ATTRIBUTES_H

#include "wire/reader.h"

enum {
    MSSH_SFTP_HAS_SIZE = 0x1,
    MSSH_SFTP_HAS_OWNER = 0x2,
    MSSH_SFTP_HAS_PERMISSIONS = 0x4,
    MSSH_SFTP_HAS_TIMES = 0x8
};

typedef struct mssh_sftp_attributes {
    uint32_t flags; /* which of the fields are there */
    uint64_t size;
    uint32_t uid;
    uint32_t gid;
    uint32_t permissions; /* st_mode, with the file's type */
    uint32_t atime;       /* seconds since 1970 */
    uint32_t mtime;
} mssh_sftp_attributes;

/* Reads attributes; a field that is not there is 0. Pairs of extended data are skipped, and their count must
 * fit what is left. The reader fails on flags that version 3 does not know: what follows cannot be told. */
void mssh_sftp_read_attributes(mssh_reader *reader, mssh_sftp_attributes *attributes);

/* The type that st_mode tells: "file", "directory", "symlink", "fifo", "socket", "block", "character"; or
 * "unknown", also where permissions are not there. */
const char *mssh_sftp_type_name(const mssh_sftp_attributes *attributes);

#endif
