/*
 * Where the layers above the transport drop the payloads that they want sent. The session plugs it into the
 * transport, a unit test into a list.
 */
#ifndef MSSH_WIRE_OUTBOX_H
#define MSSH_WIRE_OUTBOX_H

#include "base/slice.h"

typedef struct mssh_outbox {
    void *self;
    /* Queues one payload, given in two parts (head, then body; body may be empty) and copied. 0 or an
     * mssh_err. */
    int (*send)(void *self, mssh_slice head, mssh_slice body);
    /* The same for one payload whose length must not show: it is padded so that all short ones look alike. */
    int (*send_concealed)(void *self, mssh_slice payload);
    /* Bytes of bulk data that may be queued now before the send queue is over its limit; 0 while it is full,
     * or while a key exchange holds everything back. Replies and requests may go beyond it; channel data must
     * not. */
    size_t (*room)(void *self);
} mssh_outbox;

#endif
