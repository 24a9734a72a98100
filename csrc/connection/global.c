#include "connection/channel.h"
#include "wire/messages.h"

int mssh_connection_request(mssh_connection *connection, mssh_slice name, bool want_reply, mssh_slice data)
{
    mssh_head head = mssh_head_of(MSSH_MSG_GLOBAL_REQUEST);
    int err;

    if (connection->failure->code != 0)
        return connection->failure->code;
    if (name.len > MSSH_CONNECTION_MAX_NAME || data.len > MSSH_CONNECTION_MAX_DATA)
        return MSSH_ERR_LIMIT;
    mssh_head_string(&head, name);
    mssh_head_u8(&head, want_reply ? 1 : 0);
    err = mssh_head_send(&head, connection, data);
    if (err == 0 && want_reply)
        connection->n_unanswered++;
    return err;
}

/* Matched by their order, as those to channel requests. */
static void tell_reply(mssh_connection *connection, mssh_slice data, bool success,
                       mssh_connection_event *event)
{
    if (connection->n_unanswered == 0)
        return;
    connection->n_unanswered--;
    event->type = MSSH_CONNECTION_GLOBAL_REPLY;
    event->success = success;
    event->data = data;
}

/* REQUEST_SUCCESS (RFC 4254 4): response-specific data */
int mssh_handle_request_success(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                                mssh_connection_event *event)
{
    (void)slot;
    tell_reply(connection, mssh_read_rest(reader), true, event);
    return 0;
}

/* REQUEST_FAILURE (RFC 4254 4): no further fields */
int mssh_handle_request_failure(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                                mssh_connection_event *event)
{
    (void)slot;
    if (!mssh_reader_done(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_REQUEST_FAILURE);
    tell_reply(connection, MSSH_SLICE_EMPTY, false, event);
    return 0;
}

/* GLOBAL_REQUEST (RFC 4254 4): string request name, boolean want reply, request-specific data */
int mssh_handle_global_request(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                               mssh_connection_event *event)
{
    mssh_slice name = mssh_read_string(reader);
    bool want_reply = mssh_read_bool(reader);
    mssh_head refusal = mssh_head_of(MSSH_MSG_REQUEST_FAILURE);

    (void)slot;
    if (!mssh_reader_ok(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_GLOBAL_REQUEST);
    event->type = MSSH_CONNECTION_GLOBAL_REQUEST;
    event->name = name;
    event->data = mssh_read_rest(reader);
    return want_reply ? mssh_head_send(&refusal, connection, MSSH_SLICE_EMPTY) : 0;
}
