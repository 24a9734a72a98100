#include "mssh.h"

#include "session/event.h"
#include "wire/messages.h"
#include "wire/writer.h"

enum {
    FIRST_AUTH_NUMBER = 50,
    FIRST_CONNECTION_NUMBER = 80,
    LAST_CONNECTION_NUMBER = 127,
    /* Payload that every peer has to take (RFC 4253 6.1). */
    SURE_PAYLOAD = 32768,
};

/* What is expected of the peer, and with it which commands are in place. */
typedef enum session_phase { EXPECT_FIRST_KEX, EXPECT_AUTH_SUCCESS, OPEN } session_phase;

struct mssh_session {
    mssh_mem *mem;
    mssh_transport *transport;
    mssh_auth *auth;
    mssh_connection *connection;
    mssh_outbox auth_outbox;
    mssh_outbox connection_outbox;
    session_phase phase;
    mssh_failure failure; /* shared with authentication and connection: theirs, or the transport's */
};

/* The failure so far, in agreement between the layers: what ends the transport ends the commands of the
 * others. */
static int failed(mssh_session *session)
{
    const mssh_failure *below = mssh_transport_failure(session->transport);

    if (session->failure.code == 0 && below->code != 0)
        session->failure = *below;
    return session->failure.code;
}

/* --- outboxes: the one door between the layers above and the transport, so the phase is checked in it */

static int may_send(mssh_session *session, session_phase phase)
{
    int err = failed(session);
    if (err != 0)
        return err;
    return session->phase == phase ? 0 : MSSH_ERR_STATE;
}

static int send_auth(void *self, mssh_slice head, mssh_slice body)
{
    mssh_session *session = self;
    int err = may_send(session, EXPECT_AUTH_SUCCESS);
    return err != 0 ? err : mssh_transport_send(session->transport, head, body);
}

static int send_auth_concealed(void *self, mssh_slice payload)
{
    mssh_session *session = self;
    int err = may_send(session, EXPECT_AUTH_SUCCESS);
    return err != 0 ? err : mssh_transport_send_concealed(session->transport, payload);
}

static int send_connection(void *self, mssh_slice head, mssh_slice body)
{
    mssh_session *session = self;
    int err = may_send(session, OPEN);
    return err != 0 ? err : mssh_transport_send(session->transport, head, body);
}

static int send_connection_concealed(void *self, mssh_slice payload)
{
    mssh_session *session = self;
    int err = may_send(session, OPEN);
    return err != 0 ? err : mssh_transport_send_concealed(session->transport, payload);
}

/* A failed session has room, so that a writer goes on to learn that it has failed instead of waiting. */
static size_t room(void *self)
{
    mssh_session *session = self;
    return failed(session) != 0 ? SIZE_MAX : mssh_transport_room(session->transport);
}

/* --- making and freeing */

int mssh_session_new(mssh_mem *mem, const mssh_session_options *options, mssh_session **session,
                     mssh_failure *failure)
{
    mssh_session *made;
    int err;

    if (options->transport.role != MSSH_CLIENT)
        return mssh_fail(failure, MSSH_ERR_UNSUPPORTED, 0, "a session is a client");
    made = mssh_alloc(mem, sizeof *made);
    if (made == NULL)
        return mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory");
    made->mem = mem;
    made->auth_outbox = (mssh_outbox){made, send_auth, send_auth_concealed, room};
    made->connection_outbox = (mssh_outbox){made, send_connection, send_connection_concealed, room};
    err = mssh_transport_new(mem, &options->transport, &made->transport, failure);
    if (err == 0) {
        made->auth = mssh_auth_new(mem, &made->auth_outbox, &made->failure);
        made->connection =
            mssh_connection_new(mem, &made->connection_outbox, &options->connection, &made->failure);
        if (made->auth == NULL || made->connection == NULL)
            err = mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory");
    }
    if (err != 0) {
        mssh_session_free(made);
        return err;
    }
    *session = made;
    return 0;
}

void mssh_session_free(mssh_session *session)
{
    if (session == NULL)
        return;
    mssh_connection_free(session->connection);
    mssh_auth_free(session->auth);
    mssh_transport_free(session->transport);
    mssh_free(session->mem, session, sizeof *session);
}

/* --- what comes in */

static int handle_auth(mssh_session *session, mssh_slice payload, mssh_event *event)
{
    mssh_auth_event meaning;
    int err = mssh_auth_handle(session->auth, payload, &meaning);

    if (err != 0)
        return err;
    mssh_event_of_auth(event, &meaning);
    if (event->type != MSSH_EVENT_AUTH_SUCCESS)
        return 0;
    session->phase = OPEN;
    return mssh_transport_set_authenticated(session->transport);
}

static int handle_connection(mssh_session *session, mssh_slice payload, mssh_event *event)
{
    mssh_connection_event meaning;
    int err = mssh_connection_handle(session->connection, payload, &meaning);

    if (err == 0)
        mssh_event_of_connection(event, &meaning);
    return err;
}

/* The gate of the transport lets a message in by its number and the phase; here it is handed to whom it
 * belongs. The phase is checked again: it is ours to know. */
static int handle_payload(mssh_session *session, mssh_slice payload, mssh_event *event)
{
    uint8_t number = payload.len > 0 ? payload.data[0] : 0;
    bool for_connection = number >= FIRST_CONNECTION_NUMBER && number <= LAST_CONNECTION_NUMBER;
    bool for_auth = !for_connection && (number >= FIRST_AUTH_NUMBER || number == MSSH_MSG_SERVICE_ACCEPT);

    if (for_auth && session->phase == EXPECT_AUTH_SUCCESS)
        return handle_auth(session, payload, event);
    if (for_connection && session->phase == OPEN)
        return handle_connection(session, payload, event);
    return mssh_fail(&session->failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR, "unexpected %s",
                     mssh_message_name(number));
}

static void handle(mssh_session *session, const mssh_transport_event *from, mssh_event *event)
{
    mssh_event meaning = {.type = MSSH_EVENT_NONE};

    if (from->type == MSSH_TRANSPORT_PAYLOAD) {
        if (handle_payload(session, from->data, &meaning) != 0)
            return; /* the failure is recorded; it is the next event */
        *event = meaning;
        return;
    }
    if (from->type == MSSH_TRANSPORT_KEX_DONE && session->phase == EXPECT_FIRST_KEX)
        session->phase = EXPECT_AUTH_SUCCESS;
    mssh_event_of_transport(event, from);
}

void mssh_session_next(mssh_session *session, mssh_event *event)
{
    mssh_transport_event from;

    *event = (mssh_event){.type = MSSH_EVENT_NONE};
    do {
        /* Not only what the peer sends can fail: a command may have run out of memory since. */
        if (failed(session) != 0)
            mssh_transport_fail(session->transport, &session->failure);
        mssh_transport_next(session->transport, &from);
        if (from.type == MSSH_TRANSPORT_NONE)
            return;
        handle(session, &from, event);
    } while (event->type == MSSH_EVENT_NONE);
    (void)failed(session);
}

/* --- the transport's calls */

int mssh_session_start(mssh_session *session)
{
    return mssh_transport_start(session->transport);
}

int mssh_session_attach(mssh_session *session)
{
    int err = mssh_transport_attach(session->transport);

    if (err == 0)
        session->phase = OPEN;
    return err;
}

uint8_t *mssh_session_input(mssh_session *session, size_t *n_room)
{
    return mssh_transport_input(session->transport, n_room);
}

void mssh_session_input_done(mssh_session *session, size_t len)
{
    mssh_transport_input_done(session->transport, len);
}

void mssh_session_input_eof(mssh_session *session)
{
    mssh_transport_input_eof(session->transport);
}

mssh_slice mssh_session_output(mssh_session *session)
{
    return mssh_transport_output(session->transport);
}

void mssh_session_output_done(mssh_session *session, size_t len)
{
    mssh_transport_output_done(session->transport, len);
}

void mssh_session_tick(mssh_session *session, uint64_t now_ms)
{
    mssh_transport_tick(session->transport, now_ms);
}

uint64_t mssh_session_deadline(const mssh_session *session)
{
    return mssh_transport_deadline(session->transport);
}

void mssh_session_fail(mssh_session *session, const mssh_failure *failure)
{
    mssh_transport_fail(session->transport, failure);
    (void)failed(session);
}

const mssh_failure *mssh_session_failure(const mssh_session *session)
{
    const mssh_failure *below = mssh_transport_failure(session->transport);
    return below->code != 0 ? below : &session->failure;
}

bool mssh_session_authenticated(const mssh_session *session)
{
    return session->phase == OPEN;
}

mssh_transport *mssh_session_transport(mssh_session *session)
{
    return session->transport;
}

mssh_auth *mssh_session_auth(mssh_session *session)
{
    return session->auth;
}

mssh_connection *mssh_session_connection(mssh_session *session)
{
    return session->connection;
}

/* --- messages of its own */

static int may_talk(mssh_session *session, size_t len)
{
    int err = failed(session);

    if (err != 0)
        return err;
    if (session->phase == EXPECT_FIRST_KEX)
        return MSSH_ERR_STATE;
    return len <= SURE_PAYLOAD ? 0 : MSSH_ERR_LIMIT;
}

/* byte SSH_MSG_IGNORE, string data */
int mssh_session_ignore(mssh_session *session, mssh_slice data)
{
    uint8_t head[5] = {MSSH_MSG_IGNORE};
    int err = may_talk(session, data.len);

    if (err != 0)
        return err;
    mssh_store_u32(head + 1, (uint32_t)data.len);
    return mssh_transport_send(session->transport, mssh_slice_of(head, sizeof head), data);
}

/* byte SSH_MSG_DEBUG, boolean always_display, string message, string language tag */
int mssh_session_debug(mssh_session *session, bool always_display, mssh_slice message, mssh_slice language)
{
    mssh_buf payload;
    int err = may_talk(session, message.len);

    if (err != 0)
        return err;
    mssh_buf_init(&payload, session->mem, SURE_PAYLOAD);
    mssh_write_u8(&payload, MSSH_MSG_DEBUG);
    mssh_write_bool(&payload, always_display);
    mssh_write_string(&payload, message);
    mssh_write_string(&payload, language);
    err = payload.error;
    if (err == 0)
        err = mssh_transport_send(session->transport, mssh_buf_slice(&payload), MSSH_SLICE_EMPTY);
    mssh_buf_free(&payload);
    return err;
}
