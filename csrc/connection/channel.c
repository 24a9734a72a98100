#include "connection/channel.h"

#include "wire/messages.h"

enum {
    FIRST_SLOTS = 8,
    /* Storage above this is given back as soon as nothing is kept in it. */
    KEPT_STORAGE = 1 << 20,
    EXTENDED_DATA_STDERR = 1, /* RFC 4254 5.2 */
};

/* --- slots and handles --- */

mssh_channel mssh_channel_handle(const mssh_channel_slot *slot)
{
    return (uint64_t)slot->generation << 32 | (slot->id + 1);
}

mssh_channel_slot *mssh_channel_find(mssh_connection *connection, mssh_channel channel)
{
    uint32_t number = (uint32_t)channel;
    mssh_channel_slot *slot;

    if (number == 0 || number > connection->n_slots)
        return NULL;
    slot = connection->slots[number - 1];
    if (slot->phase == MSSH_CHANNEL_FREE || slot->released || slot->generation != (uint32_t)(channel >> 32))
        return NULL;
    return slot;
}

static int add_slot(mssh_connection *connection, mssh_channel_slot **slot)
{
    mssh_channel_slot *added;

    if (connection->n_slots == connection->slots_cap) {
        uint32_t cap = connection->slots_cap == 0 ? FIRST_SLOTS : connection->slots_cap * 2;
        void *grown = mssh_resize(
            connection->mem, connection->slots, connection->slots_cap * sizeof(mssh_channel_slot *),
            cap * sizeof(mssh_channel_slot *), connection->n_slots * sizeof(mssh_channel_slot *));
        if (grown == NULL)
            return MSSH_ERR_MEMORY;
        connection->slots = grown;
        connection->slots_cap = cap;
    }
    added = mssh_alloc(connection->mem, sizeof *added);
    if (added == NULL)
        return MSSH_ERR_MEMORY;
    added->id = connection->n_slots;
    connection->slots[connection->n_slots++] = added;
    *slot = added;
    return 0;
}

static int free_slot(mssh_connection *connection, mssh_channel_slot **slot)
{
    if (connection->n_used >= connection->options.max_channels)
        return MSSH_ERR_LIMIT;
    for (uint32_t i = 0; i < connection->n_slots; i++) {
        if (connection->slots[i]->phase == MSSH_CHANNEL_FREE) {
            *slot = connection->slots[i];
            return 0;
        }
    }
    return add_slot(connection, slot);
}

int mssh_channel_new(mssh_connection *connection, mssh_channel_slot **slot)
{
    mssh_channel_slot *fresh = NULL;
    uint32_t wanted;
    int err = free_slot(connection, &fresh);

    if (err != 0)
        return err;
    *fresh = (mssh_channel_slot){
        .phase = MSSH_CHANNEL_OPENING, .id = fresh->id, .generation = fresh->generation + 1};
    connection->n_used++;
    wanted = mssh_connection_window(connection, connection->options.initial_window);
    mssh_window_init(&fresh->window, mssh_window_size(wanted > 0 ? wanted : 1));
    connection->total_window += fresh->window.size;
    for (size_t i = 0; i < MSSH_N_STREAMS; i++)
        mssh_buf_init(&fresh->kept[i], connection->mem, UINT32_MAX);
    mssh_buf_init(&fresh->early, connection->mem, UINT32_MAX);
    *slot = fresh;
    return 0;
}

void mssh_channel_drop(mssh_connection *connection, mssh_channel_slot *slot)
{
    for (size_t i = 0; i < MSSH_N_STREAMS; i++)
        mssh_buf_free(&slot->kept[i]);
    mssh_buf_free(&slot->early);
    connection->total_window -= slot->window.size;
    connection->n_used--;
    slot->phase = MSSH_CHANNEL_FREE;
}

bool mssh_channel_state_get(mssh_connection *connection, mssh_channel channel, mssh_channel_state *state)
{
    const mssh_channel_slot *slot = mssh_channel_find(connection, channel);

    if (slot == NULL)
        return false;
    *state = (mssh_channel_state){
        .open = slot->phase == MSSH_CHANNEL_OPEN && !slot->close_received,
        .eof_received = slot->eof_received,
        .eof_sent = slot->eof_sent,
        .close_sent = slot->close_sent,
        .send_window = slot->send_window,
        .receive_window = slot->window.left,
        .window = slot->window.size,
    };
    return true;
}

/* --- received --- */

/* Data are dropped once we have closed: nobody reads them, and after CLOSE no grant can be sent. */
static int take_data(mssh_connection *connection, mssh_channel_slot *slot, mssh_slice data, bool *wanted)
{
    if (slot->eof_received)
        return mssh_connection_reject(connection, slot, "data after CHANNEL_EOF");
    if (data.len > connection->options.max_packet)
        return mssh_connection_reject(connection, slot, "data packet over the packet size");
    if (!mssh_window_receive(&slot->window, data.len))
        return mssh_connection_reject(connection, slot, "data over the window");
    *wanted = !slot->close_sent && data.len > 0;
    return 0;
}

static void tell_data(const mssh_channel_slot *slot, mssh_stream stream, mssh_slice data,
                      mssh_connection_event *event)
{
    event->type = MSSH_CONNECTION_DATA;
    event->channel = mssh_channel_handle(slot);
    event->stream = stream;
    event->data = data;
}

/* CHANNEL_DATA (RFC 4254 5.2): string data */
int mssh_handle_data(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                     mssh_connection_event *event)
{
    mssh_slice data = mssh_read_string(reader);
    bool wanted = false;
    int err;

    if (!mssh_reader_done(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_DATA);
    err = take_data(connection, slot, data, &wanted);
    if (err != 0)
        return err;
    mssh_channel_settle(connection, slot);
    if (wanted)
        tell_data(slot, MSSH_STDOUT, data, event);
    return 0;
}

/* CHANNEL_EXTENDED_DATA (RFC 4254 5.2): uint32 data type code, string data */
int mssh_handle_extended_data(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                              mssh_connection_event *event)
{
    uint32_t code = mssh_read_u32(reader);
    mssh_slice data = mssh_read_string(reader);
    bool wanted = false;
    int err;

    if (!mssh_reader_done(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_EXTENDED_DATA);
    err = take_data(connection, slot, data, &wanted);
    if (err != 0)
        return err;
    /* Data of a type that nobody knows count as read, or they would eat the window for ever. */
    if (code != EXTENDED_DATA_STDERR)
        mssh_window_consume(&slot->window, data.len);
    mssh_channel_settle(connection, slot);
    if (wanted && code == EXTENDED_DATA_STDERR)
        tell_data(slot, MSSH_STDERR, data, event);
    return 0;
}

/* CHANNEL_EOF (RFC 4254 5.3): no further fields. A second one says nothing new and is let pass. */
int mssh_handle_eof(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                    mssh_connection_event *event)
{
    if (!mssh_reader_done(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_EOF);
    if (slot->eof_received)
        return 0;
    slot->eof_received = true;
    if (!slot->released) {
        event->type = MSSH_CONNECTION_EOF;
        event->channel = mssh_channel_handle(slot);
    }
    return 0;
}

/* CHANNEL_CLOSE (RFC 4254 5.3): no further fields. It is answered by ours at once: what we still had to send
 * has no reader any more. */
int mssh_handle_close(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                      mssh_connection_event *event)
{
    int err;

    if (!mssh_reader_done(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_CLOSE);
    err = mssh_channel_send_close(connection, slot);
    if (err != 0)
        return err;
    slot->eof_received = true;
    slot->close_received = true;
    if (slot->released) {
        mssh_channel_drop(connection, slot);
        return 0;
    }
    event->type = MSSH_CONNECTION_CLOSED;
    event->channel = mssh_channel_handle(slot);
    return 0;
}

/* --- commands --- */

/* The slot of a handle to which something can still be sent. */
static int find_sender(mssh_connection *connection, mssh_channel channel, mssh_channel_slot **slot)
{
    mssh_channel_slot *found = mssh_channel_find(connection, channel);

    if (connection->failure->code != 0)
        return connection->failure->code;
    if (found == NULL)
        return MSSH_ERR_NO_CHANNEL;
    if (found->close_sent || found->close_wanted || found->phase == MSSH_CHANNEL_ASKED)
        return MSSH_ERR_STATE;
    *slot = found;
    return 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t mssh_channel_room(mssh_connection *connection, mssh_channel channel)
{
    mssh_channel_slot *slot = NULL;

    if (find_sender(connection, channel, &slot) != 0 || slot->eof_sent)
        return 0;
    return smaller(smaller(slot->send_window, slot->send_max),
                   connection->outbox->room(connection->outbox->self));
}

int mssh_channel_write(mssh_connection *connection, mssh_channel channel, mssh_stream stream,
                       mssh_slice bytes, size_t *taken)
{
    const mssh_outbox *outbox = connection->outbox;
    mssh_channel_slot *slot = NULL;
    size_t sent = 0;
    int err = find_sender(connection, channel, &slot);

    if (err != 0)
        return err;
    if (slot->eof_sent || slot->eof_wanted)
        return MSSH_ERR_STATE;
    while (sent < bytes.len && slot->send_window > 0) {
        size_t len = smaller(smaller(bytes.len - sent, slot->send_window),
                             smaller(slot->send_max, outbox->room(outbox->self)));
        mssh_head head =
            mssh_head_of(stream == MSSH_STDERR ? MSSH_MSG_CHANNEL_EXTENDED_DATA : MSSH_MSG_CHANNEL_DATA);
        if (len == 0)
            break;
        mssh_head_u32(&head, slot->peer_id);
        if (stream == MSSH_STDERR)
            mssh_head_u32(&head, EXTENDED_DATA_STDERR);
        mssh_head_u32(&head, (uint32_t)len);
        err = mssh_head_send(&head, connection, mssh_slice_of(bytes.data + sent, len));
        if (err != 0)
            return err;
        slot->send_window -= (uint32_t)len;
        sent += len;
    }
    *taken = sent;
    return 0;
}

int mssh_channel_send(mssh_connection *connection, const mssh_channel_slot *slot, uint8_t number)
{
    mssh_head head = mssh_head_of(number);
    mssh_head_u32(&head, slot->peer_id);
    return mssh_head_send(&head, connection, MSSH_SLICE_EMPTY);
}

int mssh_channel_send_eof(mssh_connection *connection, mssh_channel_slot *slot)
{
    int err;

    if (slot->eof_sent)
        return 0;
    err = mssh_channel_send(connection, slot, MSSH_MSG_CHANNEL_EOF);
    if (err == 0)
        slot->eof_sent = true;
    return err;
}

int mssh_channel_eof(mssh_connection *connection, mssh_channel channel)
{
    mssh_channel_slot *slot = NULL;
    int err = find_sender(connection, channel, &slot);

    if (err != 0)
        return err;
    if (slot->phase != MSSH_CHANNEL_OPENING)
        return mssh_channel_send_eof(connection, slot);
    slot->eof_wanted = true;
    return 0;
}

int mssh_channel_send_close(mssh_connection *connection, mssh_channel_slot *slot)
{
    int err;

    if (slot->close_sent)
        return 0;
    err = mssh_channel_send(connection, slot, MSSH_MSG_CHANNEL_CLOSE);
    if (err == 0)
        slot->close_sent = true;
    return err;
}

int mssh_channel_close(mssh_connection *connection, mssh_channel channel)
{
    mssh_channel_slot *slot = mssh_channel_find(connection, channel);

    if (connection->failure->code != 0)
        return connection->failure->code;
    if (slot == NULL)
        return MSSH_ERR_NO_CHANNEL;
    if (slot->phase == MSSH_CHANNEL_OPEN)
        return mssh_channel_send_close(connection, slot);
    if (slot->phase == MSSH_CHANNEL_ASKED)
        return MSSH_ERR_STATE;
    slot->close_wanted = true; /* the peer's number for the channel is not known yet */
    return 0;
}

void mssh_channel_release(mssh_connection *connection, mssh_channel channel)
{
    mssh_channel_slot *slot = mssh_channel_find(connection, channel);

    if (slot == NULL)
        return;
    if (slot->phase == MSSH_CHANNEL_ASKED) {
        (void)mssh_connection_refuse(connection, slot->peer_id, MSSH_OPEN_ADMINISTRATIVELY_PROHIBITED,
                                     MSSH_SLICE_EMPTY);
        mssh_channel_drop(connection, slot);
        return;
    }
    (void)mssh_channel_close(connection, channel);
    if (slot->close_received) {
        mssh_channel_drop(connection, slot);
        return;
    }
    slot->released = true;
    for (size_t i = 0; i < MSSH_N_STREAMS; i++)
        mssh_buf_free(&slot->kept[i]);
}

/* --- what is kept --- */

int mssh_channel_keep(mssh_connection *connection, mssh_channel channel, mssh_stream stream, mssh_slice data)
{
    mssh_channel_slot *slot = mssh_channel_find(connection, channel);
    int err;

    if (slot == NULL)
        return MSSH_ERR_NO_CHANNEL;
    err = mssh_buf_append(&slot->kept[stream], data.data, data.len);
    if (err != 0)
        return mssh_fail(connection->failure, err, 0, "no memory for the data of channel %lu",
                         (unsigned long)slot->id);
    return 0;
}

mssh_slice mssh_channel_kept(mssh_connection *connection, mssh_channel channel, mssh_stream stream)
{
    const mssh_channel_slot *slot = mssh_channel_find(connection, channel);
    return slot != NULL ? mssh_buf_slice(&slot->kept[stream]) : MSSH_SLICE_EMPTY;
}

void mssh_channel_take(mssh_connection *connection, mssh_channel channel, mssh_stream stream, size_t len)
{
    mssh_channel_slot *slot = mssh_channel_find(connection, channel);
    mssh_buf *kept;

    if (slot == NULL)
        return;
    kept = &slot->kept[stream];
    len = smaller(len, mssh_buf_len(kept));
    mssh_buf_consume(kept, len);
    if (mssh_buf_len(kept) == 0 && kept->cap > KEPT_STORAGE)
        mssh_buf_free(kept);
    mssh_channel_consumed(connection, channel, len);
}

void mssh_channel_consumed(mssh_connection *connection, mssh_channel channel, size_t len)
{
    mssh_channel_slot *slot = mssh_channel_find(connection, channel);

    if (slot == NULL)
        return;
    mssh_window_consume(&slot->window, len);
    mssh_channel_settle(connection, slot);
}
