#include "connection/connection.h"

#include "connection/channel.h"
#include "wire/messages.h"
#include "wire/writer.h"

enum {
    DEFAULT_CHANNELS = 1024,
    MOST_CHANNELS = 1 << 20,
    DEFAULT_INITIAL_WINDOW = 2 << 20,
    DEFAULT_MAX_WINDOW = 64 << 20,
    DEFAULT_TOTAL_WINDOW = 256 << 20,
    DEFAULT_PACKET = 32768,
    /* Most window that is set aside for a channel to come; one large packet keeps it moving. */
    LEAST_WINDOW = 32768,
};

/* Whom a message is for, as far as the dispatcher checks it. */
typedef enum addressee { TO_CONNECTION, TO_OPENING_CHANNEL, TO_OPEN_CHANNEL } addressee;

static const struct row {
    uint8_t number;
    addressee to;
    mssh_connection_handler *handle;
} rows[] = {
    {MSSH_MSG_GLOBAL_REQUEST, TO_CONNECTION, mssh_handle_global_request},
    {MSSH_MSG_REQUEST_SUCCESS, TO_CONNECTION, mssh_handle_request_success},
    {MSSH_MSG_REQUEST_FAILURE, TO_CONNECTION, mssh_handle_request_failure},
    {MSSH_MSG_CHANNEL_OPEN, TO_CONNECTION, mssh_handle_open},
    {MSSH_MSG_CHANNEL_OPEN_CONFIRMATION, TO_OPENING_CHANNEL, mssh_handle_open_confirmation},
    {MSSH_MSG_CHANNEL_OPEN_FAILURE, TO_OPENING_CHANNEL, mssh_handle_open_failure},
    {MSSH_MSG_CHANNEL_WINDOW_ADJUST, TO_OPEN_CHANNEL, mssh_handle_window_adjust},
    {MSSH_MSG_CHANNEL_DATA, TO_OPEN_CHANNEL, mssh_handle_data},
    {MSSH_MSG_CHANNEL_EXTENDED_DATA, TO_OPEN_CHANNEL, mssh_handle_extended_data},
    {MSSH_MSG_CHANNEL_EOF, TO_OPEN_CHANNEL, mssh_handle_eof},
    {MSSH_MSG_CHANNEL_CLOSE, TO_OPEN_CHANNEL, mssh_handle_close},
    {MSSH_MSG_CHANNEL_REQUEST, TO_OPEN_CHANNEL, mssh_handle_channel_request},
    {MSSH_MSG_CHANNEL_SUCCESS, TO_OPEN_CHANNEL, mssh_handle_channel_success},
    {MSSH_MSG_CHANNEL_FAILURE, TO_OPEN_CHANNEL, mssh_handle_channel_failure},
};

static mssh_connection_options without_zeros(const mssh_connection_options *given)
{
    mssh_connection_options options = {0};

    if (given != NULL)
        options = *given;
    if (options.max_channels == 0)
        options.max_channels = DEFAULT_CHANNELS;
    if (options.max_channels > MOST_CHANNELS)
        options.max_channels = MOST_CHANNELS;
    if (options.max_window == 0)
        options.max_window = DEFAULT_MAX_WINDOW;
    if (options.initial_window == 0)
        options.initial_window = DEFAULT_INITIAL_WINDOW;
    if (options.initial_window > options.max_window)
        options.initial_window = options.max_window;
    if (options.max_total_window == 0)
        options.max_total_window = DEFAULT_TOTAL_WINDOW;
    if (options.max_packet == 0)
        options.max_packet = DEFAULT_PACKET;
    return options;
}

mssh_connection *mssh_connection_new(mssh_mem *mem, const mssh_outbox *outbox,
                                     const mssh_connection_options *options, mssh_failure *failure)
{
    mssh_connection *connection = mssh_alloc(mem, sizeof *connection);

    if (connection == NULL)
        return NULL;
    connection->mem = mem;
    connection->outbox = outbox;
    connection->failure = failure;
    connection->options = without_zeros(options);
    return connection;
}

void mssh_connection_free(mssh_connection *connection)
{
    if (connection == NULL)
        return;
    for (uint32_t i = 0; i < connection->n_slots; i++) {
        if (connection->slots[i]->phase != MSSH_CHANNEL_FREE)
            mssh_channel_drop(connection, connection->slots[i]);
        mssh_free(connection->mem, connection->slots[i], sizeof *connection->slots[i]);
    }
    mssh_free(connection->mem, connection->slots, connection->slots_cap * sizeof(mssh_channel_slot *));
    mssh_free(connection->mem, connection, sizeof *connection);
}

uint32_t mssh_connection_window(const mssh_connection *connection, uint32_t wanted)
{
    const mssh_connection_options *options = &connection->options;
    uint64_t share = options->max_total_window / options->max_channels;
    uint64_t least = share < LEAST_WINDOW ? share : LEAST_WINDOW;
    uint64_t set_aside = least * (options->max_channels - connection->n_used);
    uint64_t taken = connection->total_window + set_aside;
    uint64_t free_window = taken < options->max_total_window ? options->max_total_window - taken : 0;

    return wanted < free_window ? wanted : (uint32_t)free_window;
}

mssh_head mssh_head_of(uint8_t number)
{
    return (mssh_head){{number}, 1};
}

void mssh_head_u8(mssh_head *head, uint8_t value)
{
    head->bytes[head->len++] = value;
}

void mssh_head_u32(mssh_head *head, uint32_t value)
{
    mssh_store_u32(head->bytes + head->len, value);
    head->len += 4;
}

void mssh_head_string(mssh_head *head, mssh_slice text)
{
    mssh_head_u32(head, (uint32_t)text.len);
    if (text.len > 0)
        memcpy(head->bytes + head->len, text.data, text.len);
    head->len += text.len;
}

int mssh_head_send(const mssh_head *head, mssh_connection *connection, mssh_slice body)
{
    return connection->outbox->send(connection->outbox->self, mssh_slice_of(head->bytes, head->len), body);
}

int mssh_connection_malformed(mssh_connection *connection, uint8_t number)
{
    return mssh_fail(connection->failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR, "malformed %s",
                     mssh_message_name(number));
}

int mssh_connection_reject(mssh_connection *connection, const mssh_channel_slot *slot, const char *text)
{
    return mssh_fail(connection->failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR,
                     "%s on channel %lu", text, (unsigned long)slot->id);
}

static const struct row *find_row(uint8_t number)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].number == number)
            return &rows[i];
    return NULL;
}

/* The channel that a message names, if it may get that message now. */
static int find_addressee(mssh_connection *connection, const struct row *row, mssh_reader *reader,
                          mssh_channel_slot **slot)
{
    uint32_t id = mssh_read_u32(reader);
    const char *name = mssh_message_name(row->number);
    mssh_channel_phase expected = row->to == TO_OPENING_CHANNEL ? MSSH_CHANNEL_OPENING : MSSH_CHANNEL_OPEN;
    mssh_channel_slot *found;

    if (!mssh_reader_ok(reader))
        return mssh_connection_malformed(connection, row->number);
    found = id < connection->n_slots ? connection->slots[id] : NULL;
    if (found == NULL || found->phase != expected)
        return mssh_fail(connection->failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR,
                         "%s for channel %lu, which is not %s", name, (unsigned long)id,
                         expected == MSSH_CHANNEL_OPEN ? "open" : "being opened");
    if (found->close_received)
        return mssh_fail(connection->failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR,
                         "%s after CHANNEL_CLOSE on channel %lu", name, (unsigned long)id);
    *slot = found;
    return 0;
}

static int dispatch(mssh_connection *connection, mssh_slice payload, mssh_connection_event *event)
{
    mssh_reader reader = mssh_reader_of(payload);
    uint8_t number = mssh_read_u8(&reader);
    const struct row *row = find_row(number);
    mssh_channel_slot *slot = NULL;
    int err = 0;

    if (row == NULL)
        return mssh_fail(connection->failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR,
                         "unexpected message %u", number);
    if (row->to != TO_CONNECTION)
        err = find_addressee(connection, row, &reader, &slot);
    if (err == 0)
        err = row->handle(connection, slot, &reader, event);
    /* An answer that could not be queued: the peer would wait for it for ever. */
    if (err != 0)
        (void)mssh_fail(connection->failure, err, 0, "%s could not be handled: %s", mssh_message_name(number),
                        mssh_err_name(err));
    return err;
}

uint32_t mssh_connection_n_channels(const mssh_connection *connection)
{
    return connection->n_used;
}

int mssh_connection_handle(mssh_connection *connection, mssh_slice payload, mssh_connection_event *event)
{
    mssh_connection_event meaning = {.type = MSSH_CONNECTION_NONE};
    int err = connection->failure->code;

    if (err == 0)
        err = dispatch(connection, payload, &meaning);
    if (err == 0)
        *event = meaning;
    return err;
}
