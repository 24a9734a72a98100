/*
 * The receiving side of a channel's window (RFC 4254 5.2) as arithmetic alone: how much the peer may send,
 * when to grant more, and whether the window is too small for the path.
 *
 * Growth. Every grant moves the edge up to which the peer may send. A peer that ends a packet exactly at an
 * edge had to stop there; where what came before was read at once, a grant is on its way already or would
 * have been in a larger window: the window is shorter than the path. That needs no clock. Sizes are odd, so
 * that packets of a round size do not end at edges by chance.
 */
#ifndef MSSH_CONNECTION_WINDOW_H
#define MSSH_CONNECTION_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MSSH_WINDOW_EDGES = 8 };

typedef struct mssh_window {
    uint32_t size;     /* what it is kept at */
    uint32_t left;     /* bytes the peer may still send */
    uint32_t owed;     /* bytes consumed and not granted again yet; left + owed + unconsumed = size */
    uint64_t received; /* bytes so far */
    uint64_t
        edges[MSSH_WINDOW_EDGES]; /* of grants not used up yet, oldest first, as counts of bytes received */
    unsigned n_edges;
    unsigned n_stops; /* edges in a row at which the peer had to stop */
} mssh_window;

/* The size a window is made for `wanted` bytes (at least 1): odd, and not larger than wanted. */
uint32_t mssh_window_size(uint32_t wanted);

/* A window of `size` bytes that is granted by opening the channel. */
void mssh_window_init(mssh_window *window, uint32_t size);

/* Takes note of `len` bytes received. False, and nothing changed, when the peer was not allowed to send them.
 */
bool mssh_window_receive(mssh_window *window, size_t len);

/* Takes note that `len` received bytes were consumed; more than are unconsumed count as these. */
void mssh_window_consume(mssh_window *window, size_t len);

/* Bytes to grant now; 0 while it is not worth a message. */
uint32_t mssh_window_due(const mssh_window *window);

/* The bytes were granted. */
void mssh_window_grant(mssh_window *window, uint32_t len);

/* Whether the peer had to wait for grants although the data were consumed at once. */
bool mssh_window_is_short(const mssh_window *window);

/* Makes the window `more` bytes larger (0: leaves it, and waits for new signs that it is short). */
void mssh_window_grow(mssh_window *window, uint32_t more);

#endif
