/*
 * Looking a name up in the text of a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
 */
#ifndef MSSH_KEYS_KNOWN_HOSTS_H
#define MSSH_KEYS_KNOWN_HOSTS_H

#include "base/buf.h"

/* Where a search stands in a text, and what it has found. */
typedef struct mssh_known_hosts {
    mssh_slice rest; /* of the text */
    size_t number;   /* of the line found, from 1 */
    mssh_slice line; /* without its end; a view into the text */
} mssh_known_hosts;

/* A search from the start of a text. */
mssh_known_hosts mssh_known_hosts_of(mssh_slice text);

/* Goes on to the next line that may speak of a name (in lower case): one that lists it, whatever its letters'
 * case, one whose hash is the name's, or one with a pattern or a negated name, which is not looked at any
 * closer. Nothing else of the line is checked. `scratch` is an empty buffer for hashes. 1, or 0 at the end;
 * MSSH_ERR_MEMORY or MSSH_ERR_UNSUPPORTED where a hash cannot be had. */
int mssh_known_hosts_next(mssh_known_hosts *search, mssh_slice name, mssh_buf *scratch);

#endif
