/* Any bytes into a client that has just connected: nothing may be accepted, and memory stays small. */
#include "fuzz.h"

enum { MOST_MEMORY = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mssh_session_options options = {.transport = {.role = MSSH_CLIENT, .software = "fuzz"}};
    mssh_session *session = NULL;
    mssh_failure failure = {0};
    mssh_event event;
    mssh_mem mem;

    mssh_mem_init(&mem, NULL, NULL);
    if (mssh_session_new(&mem, &options, &session, &failure) != 0 || mssh_session_start(session) != 0)
        return 0;
    while (size > 0) {
        size_t room;
        uint8_t *place = mssh_session_input(session, &room);
        size_t len = room < size ? room : size;

        if (len == 0)
            break;
        memcpy(place, data, len);
        mssh_session_input_done(session, len);
        data += len;
        size -= len;
        fuzz_require(fuzz_drain(session, &event) != MSSH_EVENT_HOST_KEY);
        mssh_session_output_done(session, mssh_session_output(session).len);
    }
    mssh_session_input_eof(session);
    (void)fuzz_drain(session, &event);
    fuzz_require(mssh_session_failure(session)->code != 0 && !mssh_session_authenticated(session));
    fuzz_require(mem.peak < MOST_MEMORY);
    mssh_session_free(session);
    fuzz_require(mem.in_use == 0);
    return 0;
}
