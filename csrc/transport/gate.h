/*
 * The gate: whether a message may come in now. It decides from the rows of wire/messages.h alone, so that
 * what is out of place is turned away before any handler sees it.
 */
#ifndef MSSH_TRANSPORT_GATE_H
#define MSSH_TRANSPORT_GATE_H

#include "transport/transport.h"

/* The state that the verdict depends on. */
typedef struct mssh_gate {
    mssh_role role;         /* ours */
    uint8_t phase;          /* one of MSSH_IN_… */
    uint8_t expected;       /* the one message of 20 to 49 that may come now; 0: none */
    bool skips_wrong_guess; /* the next message of 30 to 49 is a wrong guess, to be dropped */
} mssh_gate;

typedef enum mssh_verdict {
    MSSH_LET_IN,
    MSSH_DROP_GUESS,           /* a wrongly guessed packet (RFC 4253 7.1) */
    MSSH_ANSWER_UNIMPLEMENTED, /* not known: RFC 4253 11.4 */
    MSSH_REJECT
} mssh_verdict;

/* The verdict on a message number. */
mssh_verdict mssh_gate_judge(const mssh_gate *gate, uint8_t number);

#endif
