/*
 * What the fuzz targets share: memory with a bound, and a reader of choices.
 */
#ifndef MSSH_FUZZ_H
#define MSSH_FUZZ_H

#include "mssh.h"

/* libFuzzer's entry: always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stops the run with a message: a rule of the core was broken. */
static inline void fuzz_require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

/* Takes events until there are none, looking at every byte they show; gives the last question, or NONE. */
static inline mssh_event_type fuzz_drain(mssh_session *session, mssh_event *event)
{
    mssh_event_type question = MSSH_EVENT_NONE;

    for (;;) {
        mssh_session_next(session, event);
        if (event->type == MSSH_EVENT_NONE || event->type == MSSH_EVENT_FAILED)
            return question;
        if (event->type == MSSH_EVENT_HOST_KEY || event->type == MSSH_EVENT_MAC_ERROR)
            question = event->type;
        if (event->type < MSSH_EVENT_BANNER && event->transport.data.len > 0) {
            volatile uint8_t sum = 0;
            for (size_t i = 0; i < event->transport.data.len; i++)
                sum = (uint8_t)(sum + event->transport.data.data[i]);
        }
    }
}

#endif
