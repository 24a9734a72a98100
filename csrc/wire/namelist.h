/*
 * Name-lists: comma-separated names (RFC 4251 section 5), e.g. "aes128-ctr,aes256-ctr".
 */
#ifndef MSSH_WIRE_NAMELIST_H
#define MSSH_WIRE_NAMELIST_H

#include "base/slice.h"

/* Caps for lists from the peer. */
#define MSSH_NAMELIST_MAX_NAMES 512
#define MSSH_NAME_MAX           64

/* Takes the first name off *list into *name. False when the list is empty. */
bool mssh_namelist_next(mssh_slice *list, mssh_slice *name);

/* Whether a list holds a name. */
bool mssh_namelist_has(mssh_slice list, mssh_slice name);

/* Whether a list from the peer is well formed: printable US-ASCII without spaces, no empty name, at most
 * MSSH_NAMELIST_MAX_NAMES names of at most MSSH_NAME_MAX bytes. The empty list is. */
bool mssh_namelist_valid(mssh_slice list);

/* The first name of `preferred` that `offered` holds too (RFC 4253 7.1); a view into `preferred`. False when
 * there is none. */
bool mssh_namelist_choose(mssh_slice preferred, mssh_slice offered, mssh_slice *chosen);

#endif
