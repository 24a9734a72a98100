/* Channels that the peer wants to open. */
#include "connection/channel.h"
#include "wire/messages.h"

enum {
    LAST_PORT = 65535,
    /* Longest address or path that is believed: names have 255 bytes, paths of sockets about a hundred. */
    LONGEST_PLACE = 1024,
};

/* What an open says of where the connection comes from, and what it was made to. */
typedef struct place {
    mssh_slice address; /* or path */
    uint32_t port;
    mssh_slice origin;
    uint32_t origin_port;
} place;

/* x11 (RFC 4254 6.3.2): string originator address, uint32 originator port */
static void read_ORIGINATOR(mssh_reader *reader, place *from)
{
    from->origin = mssh_read_string(reader);
    from->origin_port = mssh_read_u32(reader);
}

static void read_NOTHING(mssh_reader *reader, place *from)
{
    (void)reader;
    (void)from;
}

/* forwarded-tcpip (RFC 4254 7.2): string address that was connected, uint32 port that was connected, string
 * originator IP address, uint32 originator port */
static void read_ADDRESS_AND_ORIGINATOR(mssh_reader *reader, place *from)
{
    from->address = mssh_read_string(reader);
    from->port = mssh_read_u32(reader);
    read_ORIGINATOR(reader, from);
}

/* forwarded-streamlocal@openssh.com (PROTOCOL of OpenSSH, 2.4): string socket path, string reserved */
static void read_PATH(mssh_reader *reader, place *from)
{
    from->address = mssh_read_string(reader);
    (void)mssh_read_string(reader);
}

static const struct row {
    const char *type;
    void (*read)(mssh_reader *reader, place *from);
} rows[MSSH_N_KINDS] = {
#define KIND_ROW(id, type, form) [MSSH_KIND_##id] = {type, read_##form},
    MSSH_CONNECTION_KINDS(KIND_ROW)
#undef KIND_ROW
};

/* Types that are known, but are never for us to accept. */
static const char *const other_types[] = {
    "session",
    "direct-tcpip",
    "direct-streamlocal@openssh.com",
    "tun@openssh.com",
};

static mssh_kind kind_of(mssh_slice type)
{
    mssh_kind kind = 0;

    while (kind < MSSH_N_KINDS && !mssh_slice_is(type, rows[kind].type))
        kind++;
    return kind;
}

static bool is_known(mssh_slice type)
{
    for (size_t i = 0; i < sizeof other_types / sizeof other_types[0]; i++)
        if (mssh_slice_is(type, other_types[i]))
            return true;
    return kind_of(type) < MSSH_N_KINDS;
}

static bool is_text(mssh_slice text)
{
    return text.len <= LONGEST_PLACE && (text.len == 0 || memchr(text.data, 0, text.len) == NULL);
}

static bool is_plausible(const place *from)
{
    return is_text(from->address) && is_text(from->origin) && from->port <= LAST_PORT &&
           from->origin_port <= LAST_PORT;
}

void mssh_connection_want(mssh_connection *connection, mssh_kind kind, bool wanted)
{
    if (kind < MSSH_N_KINDS)
        connection->wanted[kind] = wanted;
}

int mssh_connection_refuse(mssh_connection *connection, uint32_t peer_id, uint32_t reason, mssh_slice text)
{
    /* RFC 4254 5.1: uint32 recipient channel, uint32 reason code, string description, string language tag */
    mssh_head head = mssh_head_of(MSSH_MSG_CHANNEL_OPEN_FAILURE);

    mssh_head_u32(&head, peer_id);
    mssh_head_u32(&head, reason);
    mssh_head_string(&head, text);
    mssh_head_string(&head, MSSH_SLICE_EMPTY);
    return mssh_head_send(&head, connection, MSSH_SLICE_EMPTY);
}

static int refuse(mssh_connection *connection, uint32_t peer_id, uint32_t reason, const char *text)
{
    return mssh_connection_refuse(connection, peer_id, reason, mssh_slice_of_text(text));
}

/* An open of a wanted kind; the reader stands at the type-specific data. */
static int ask(mssh_connection *connection, mssh_kind kind, mssh_reader *reader, const uint32_t fields[3],
               mssh_connection_event *event)
{
    place from = {0};
    mssh_channel_slot *slot = NULL;
    int err;

    rows[kind].read(reader, &from);
    if (!mssh_reader_done(reader) || fields[2] == 0)
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_OPEN);
    if (!is_plausible(&from))
        return refuse(connection, fields[0], MSSH_OPEN_ADMINISTRATIVELY_PROHIBITED, "not a possible address");
    err = mssh_channel_new(connection, &slot);
    if (err == MSSH_ERR_LIMIT)
        return refuse(connection, fields[0], MSSH_OPEN_RESOURCE_SHORTAGE, "too many channels");
    if (err != 0)
        return err;
    slot->phase = MSSH_CHANNEL_ASKED;
    mssh_channel_set_peer(slot, fields[0], fields[1], fields[2]);
    event->type = MSSH_CONNECTION_ASKED;
    event->channel = mssh_channel_handle(slot);
    event->name = mssh_slice_of_text(rows[kind].type);
    event->data = from.address;
    event->reason = from.port;
    event->language = from.origin;
    event->origin_port = from.origin_port;
    return 0;
}

/* CHANNEL_OPEN (RFC 4254 5.1): string channel type, uint32 sender channel, uint32 initial window size, uint32
 * maximum packet size, type-specific data */
int mssh_handle_open(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                     mssh_connection_event *event)
{
    mssh_slice type = mssh_read_string(reader);
    mssh_kind kind = kind_of(type);
    uint32_t fields[3];

    (void)slot;
    for (size_t i = 0; i < 3; i++)
        fields[i] = mssh_read_u32(reader);
    if (!mssh_reader_ok(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_OPEN);
    if (kind < MSSH_N_KINDS && connection->wanted[kind])
        return ask(connection, kind, reader, fields, event);
    if (is_known(type))
        return refuse(connection, fields[0], MSSH_OPEN_ADMINISTRATIVELY_PROHIBITED, "not requested");
    return refuse(connection, fields[0], MSSH_OPEN_UNKNOWN_CHANNEL_TYPE, "unknown channel type");
}

/* The slot of a channel that waits for our answer. */
static int find_asked(mssh_connection *connection, mssh_channel channel, mssh_channel_slot **slot)
{
    mssh_channel_slot *found = mssh_channel_find(connection, channel);

    if (connection->failure->code != 0)
        return connection->failure->code;
    if (found == NULL)
        return MSSH_ERR_NO_CHANNEL;
    if (found->phase != MSSH_CHANNEL_ASKED)
        return MSSH_ERR_STATE;
    *slot = found;
    return 0;
}

int mssh_channel_accept(mssh_connection *connection, mssh_channel channel)
{
    mssh_head head = mssh_head_of(MSSH_MSG_CHANNEL_OPEN_CONFIRMATION);
    mssh_channel_slot *slot = NULL;
    int err = find_asked(connection, channel, &slot);

    if (err != 0)
        return err;
    /* RFC 4254 5.1: uint32 recipient channel, uint32 sender channel, initial window size, maximum packet size
     */
    mssh_head_u32(&head, slot->peer_id);
    mssh_head_u32(&head, slot->id);
    mssh_head_u32(&head, slot->window.size);
    mssh_head_u32(&head, connection->options.max_packet);
    err = mssh_head_send(&head, connection, MSSH_SLICE_EMPTY);
    if (err == 0)
        slot->phase = MSSH_CHANNEL_OPEN;
    return err;
}

int mssh_channel_refuse(mssh_connection *connection, mssh_channel channel, uint32_t reason, mssh_slice text)
{
    mssh_channel_slot *slot = NULL;
    int err = find_asked(connection, channel, &slot);

    if (err == 0 && text.len > MSSH_CONNECTION_MAX_NAME)
        err = MSSH_ERR_LIMIT;
    if (err == 0)
        err = mssh_connection_refuse(connection, slot->peer_id, reason, text);
    if (err == 0)
        mssh_channel_drop(connection, slot);
    return err;
}
