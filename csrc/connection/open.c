#include "connection/channel.h"
#include "wire/messages.h"

/* Largest data packet we send. Beyond it the head and the MAC weigh nothing any more, and a peer that
 * announces more than it can take is not put to the test. */
enum { MAX_SENT_PACKET = 65536 };

void mssh_channel_set_peer(mssh_channel_slot *slot, uint32_t peer_id, uint32_t window, uint32_t max_packet)
{
    slot->peer_id = peer_id;
    slot->send_window = window;
    slot->send_max = max_packet < MAX_SENT_PACKET ? max_packet : MAX_SENT_PACKET;
}

int mssh_connection_open(mssh_connection *connection, mssh_slice type, mssh_slice data, mssh_channel *channel)
{
    mssh_head head = mssh_head_of(MSSH_MSG_CHANNEL_OPEN);
    mssh_channel_slot *slot = NULL;
    int err;

    if (connection->failure->code != 0)
        return connection->failure->code;
    if (type.len > MSSH_CONNECTION_MAX_NAME || data.len > MSSH_CONNECTION_MAX_DATA)
        return MSSH_ERR_LIMIT;
    err = mssh_channel_new(connection, &slot);
    if (err != 0)
        return err;
    /* RFC 4254 5.1: string type, uint32 sender channel, initial window size, maximum packet size, data */
    mssh_head_string(&head, type);
    mssh_head_u32(&head, slot->id);
    mssh_head_u32(&head, slot->window.size);
    mssh_head_u32(&head, connection->options.max_packet);
    err = mssh_head_send(&head, connection, data);
    if (err != 0) {
        mssh_channel_drop(connection, slot);
        return err;
    }
    *channel = mssh_channel_handle(slot);
    return 0;
}

/* CHANNEL_OPEN_CONFIRMATION (RFC 4254 5.1): uint32 sender channel, uint32 initial window size, uint32 maximum
 * packet size, type-specific data */
int mssh_handle_open_confirmation(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                                  mssh_connection_event *event)
{
    uint32_t peer_id = mssh_read_u32(reader);
    uint32_t window = mssh_read_u32(reader);
    uint32_t max_packet = mssh_read_u32(reader);
    int err;

    if (!mssh_reader_ok(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_OPEN_CONFIRMATION);
    if (max_packet == 0)
        return mssh_connection_reject(connection, slot, "maximum packet size 0");
    slot->phase = MSSH_CHANNEL_OPEN;
    mssh_channel_set_peer(slot, peer_id, window, max_packet);
    if (slot->close_wanted)
        return mssh_channel_send_close(connection, slot);
    err = mssh_channel_send_early(connection, slot);
    if (err != 0)
        return err;
    event->type = MSSH_CONNECTION_OPENED;
    event->channel = mssh_channel_handle(slot);
    return 0;
}

/* CHANNEL_OPEN_FAILURE (RFC 4254 5.1): uint32 reason code, string description, string language tag */
int mssh_handle_open_failure(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                             mssh_connection_event *event)
{
    uint32_t reason = mssh_read_u32(reader);
    mssh_slice description = mssh_read_string(reader);
    mssh_slice language = mssh_read_string(reader);

    if (!mssh_reader_done(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_OPEN_FAILURE);
    if (!slot->released) {
        event->type = MSSH_CONNECTION_OPEN_FAILED;
        event->channel = mssh_channel_handle(slot);
        event->reason = reason;
        event->data = description;
        event->language = language;
    }
    mssh_channel_drop(connection, slot);
    return 0;
}
