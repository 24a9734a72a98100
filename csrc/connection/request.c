#include "connection/channel.h"
#include "wire/messages.h"
#include "wire/writer.h"

/* Keeps a request until the channel is open: all of it that follows the channel's number, as a string. */
static int keep_early(mssh_channel_slot *slot, mssh_slice name, bool want_reply, mssh_slice data)
{
    size_t len = 4 + name.len + 1 + data.len;
    mssh_buf *early = &slot->early;

    if (mssh_buf_reserve(early, 4 + len) == NULL)
        return early->error;
    mssh_write_u32(early, (uint32_t)len);
    mssh_write_string(early, name);
    mssh_write_bool(early, want_reply);
    mssh_write_bytes(early, data);
    return 0;
}

int mssh_channel_send_early(mssh_connection *connection, mssh_channel_slot *slot)
{
    mssh_reader reader = mssh_reader_of(mssh_buf_slice(&slot->early));
    int err = 0;

    while (err == 0 && mssh_reader_left(&reader) > 0) {
        mssh_head head = mssh_head_of(MSSH_MSG_CHANNEL_REQUEST);
        mssh_head_u32(&head, slot->peer_id);
        err = mssh_head_send(&head, connection, mssh_read_string(&reader));
    }
    mssh_buf_free(&slot->early);
    if (err == 0 && slot->eof_wanted)
        err = mssh_channel_send_eof(connection, slot);
    return err;
}

int mssh_channel_request(mssh_connection *connection, mssh_channel channel, mssh_slice name, bool want_reply,
                         mssh_slice data)
{
    mssh_head head = mssh_head_of(MSSH_MSG_CHANNEL_REQUEST);
    mssh_channel_slot *slot = mssh_channel_find(connection, channel);
    int err;

    if (connection->failure->code != 0)
        return connection->failure->code;
    if (slot == NULL)
        return MSSH_ERR_NO_CHANNEL;
    if (slot->phase == MSSH_CHANNEL_ASKED || slot->close_sent || slot->close_wanted)
        return MSSH_ERR_STATE;
    if (name.len > MSSH_CONNECTION_MAX_NAME || data.len > MSSH_CONNECTION_MAX_DATA)
        return MSSH_ERR_LIMIT;
    if (slot->phase == MSSH_CHANNEL_OPENING) {
        err = keep_early(slot, name, want_reply, data);
    } else {
        mssh_head_u32(&head, slot->peer_id);
        mssh_head_string(&head, name);
        mssh_head_u8(&head, want_reply ? 1 : 0);
        err = mssh_head_send(&head, connection, data);
    }
    if (err == 0 && want_reply)
        slot->n_unanswered++;
    return err;
}

/* Replies come in the order of the requests (RFC 4254 5.4), so counting them matches them. One that nobody
 * asked for is dropped. */
static int handle_reply(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                        mssh_connection_event *event, bool success)
{
    if (!mssh_reader_done(reader))
        return mssh_connection_malformed(connection,
                                         success ? MSSH_MSG_CHANNEL_SUCCESS : MSSH_MSG_CHANNEL_FAILURE);
    if (slot->n_unanswered == 0)
        return 0;
    slot->n_unanswered--;
    if (!slot->released) {
        event->type = MSSH_CONNECTION_REPLY;
        event->channel = mssh_channel_handle(slot);
        event->success = success;
    }
    return 0;
}

/* CHANNEL_SUCCESS (RFC 4254 5.4): no further fields */
int mssh_handle_channel_success(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                                mssh_connection_event *event)
{
    return handle_reply(connection, slot, reader, event, true);
}

/* CHANNEL_FAILURE (RFC 4254 5.4): no further fields */
int mssh_handle_channel_failure(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                                mssh_connection_event *event)
{
    return handle_reply(connection, slot, reader, event, false);
}

/* exit-status (RFC 4254 6.10): uint32 exit status */
static void read_exit_status(mssh_reader *reader, mssh_connection_event *event)
{
    event->type = MSSH_CONNECTION_EXIT_STATUS;
    event->reason = mssh_read_u32(reader);
}

/* exit-signal (RFC 4254 6.10): string signal name without "SIG", boolean core dumped, string error message,
 * string language tag */
static void read_exit_signal(mssh_reader *reader, mssh_connection_event *event)
{
    event->type = MSSH_CONNECTION_EXIT_SIGNAL;
    event->name = mssh_read_string(reader);
    event->success = mssh_read_bool(reader);
    event->data = mssh_read_string(reader);
    event->language = mssh_read_string(reader);
}

static const struct row {
    const char *name;
    void (*read)(mssh_reader *reader, mssh_connection_event *event);
} rows[] = {
    {"exit-status", read_exit_status},
    {"exit-signal", read_exit_signal},
};

static const struct row *find_row(mssh_slice name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (mssh_slice_is(name, rows[i].name))
            return &rows[i];
    return NULL;
}

/* CHANNEL_REQUEST (RFC 4254 5.4): string request type, boolean want reply, type-specific data */
int mssh_handle_channel_request(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                                mssh_connection_event *event)
{
    mssh_slice name = mssh_read_string(reader);
    bool want_reply = mssh_read_bool(reader);
    const struct row *row = find_row(name);
    mssh_connection_event meaning = {.type = MSSH_CONNECTION_REQUEST, .name = name};

    if (row != NULL)
        row->read(reader, &meaning);
    else
        meaning.data = mssh_read_rest(reader);
    if (!mssh_reader_done(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_REQUEST);
    if (!slot->released) {
        meaning.channel = mssh_channel_handle(slot);
        *event = meaning;
    }
    if (!want_reply || slot->close_sent)
        return 0;
    return mssh_channel_send(connection, slot,
                             row != NULL ? MSSH_MSG_CHANNEL_SUCCESS : MSSH_MSG_CHANNEL_FAILURE);
}
