/*
 * Packets of a server to a client that has keys. The input is a list: byte kind, byte length, payload. Both
 * sides run in memory; the server is the core's own transport in that role, sending what the input says. With
 * the first byte's lowest bit the client is let in first.
 */
#include "fuzz.h"

#include "connection/connection.h"
#include "wire/reader.h"

enum { MOST_MEMORY = 8 << 20, MOST_CHANNELS = 4 };

typedef struct rig {
    mssh_mem mem;
    mssh_session *client;
    mssh_transport *server;
    mssh_channel channels[MOST_CHANNELS];
    size_t n_channels;
} rig;

static mssh_key *server_key(void)
{
    static mssh_mem mem;
    static mssh_key *key;

    if (key == NULL) {
        mssh_mem_init(&mem, NULL, NULL);
        fuzz_require(mssh_key_generate(&mem, "ed25519", 0, &key, NULL) == 0);
    }
    return key;
}

static void open_channel(rig *r)
{
    mssh_connection *connection = mssh_session_connection(r->client);

    if (r->n_channels < MOST_CHANNELS &&
        mssh_connection_open(connection, mssh_slice_of_text("session"), MSSH_SLICE_EMPTY,
                             &r->channels[r->n_channels]) == 0)
        r->n_channels++;
}

/* What an application does with an event. */
static void react(rig *r, const mssh_event *event)
{
    mssh_connection *connection = mssh_session_connection(r->client);
    const mssh_connection_event *from = &event->connection;

    switch (event->type) {
    case MSSH_EVENT_HOST_KEY:
        (void)mssh_transport_answer_host_key(mssh_session_transport(r->client), true);
        break;
    case MSSH_EVENT_AUTH_FAILURE:
        (void)mssh_auth_interactive(mssh_session_auth(r->client), mssh_slice_of_text("user"));
        break;
    case MSSH_EVENT_AUTH_PROMPTS: {
        mssh_slice answers[MSSH_AUTH_MAX_PROMPTS] = {MSSH_SLICE_EMPTY};
        fuzz_require(event->auth.n_prompts <= MSSH_AUTH_MAX_PROMPTS);
        (void)mssh_auth_answer(mssh_session_auth(r->client), answers, event->auth.n_prompts);
        break;
    }
    case MSSH_EVENT_DATA:
        if (from->data.len % 2 == 0)
            (void)mssh_channel_keep(connection, from->channel, from->stream, from->data);
        else
            mssh_channel_consumed(connection, from->channel, from->data.len);
        break;
    case MSSH_EVENT_WINDOW: {
        size_t taken;
        (void)mssh_channel_write(connection, from->channel, MSSH_STDOUT, mssh_slice_of_text("hello"), &taken);
        break;
    }
    case MSSH_EVENT_CHANNEL_CLOSED:
        mssh_channel_release(connection, from->channel);
        break;
    default:
        break;
    }
}

static bool move_to_client(rig *r)
{
    mssh_slice out = mssh_transport_output(r->server);
    size_t room;
    uint8_t *place = mssh_session_input(r->client, &room);
    size_t len = out.len < room ? out.len : room;
    mssh_event event;

    if (len > 0) {
        memcpy(place, out.data, len);
        mssh_session_input_done(r->client, len);
        mssh_transport_output_done(r->server, len);
    }
    do {
        mssh_session_next(r->client, &event);
        react(r, &event);
    } while (event.type != MSSH_EVENT_NONE && event.type != MSSH_EVENT_FAILED);
    return len > 0;
}

static bool move_to_server(rig *r)
{
    mssh_slice out = mssh_session_output(r->client);
    mssh_transport_event event;
    size_t room;
    uint8_t *place = mssh_transport_input(r->server, &room);
    size_t len = out.len < room ? out.len : room;

    if (len > 0) {
        memcpy(place, out.data, len);
        mssh_transport_input_done(r->server, len);
        mssh_session_output_done(r->client, len);
    }
    do
        mssh_transport_next(r->server, &event);
    while (event.type != MSSH_TRANSPORT_NONE && event.type != MSSH_TRANSPORT_FAILED);
    return len > 0;
}

static void run(rig *r)
{
    bool moved;

    do {
        moved = move_to_server(r);
        moved = move_to_client(r) || moved;
    } while (moved);
}

static void send(rig *r, mssh_slice payload)
{
    (void)mssh_transport_send(r->server, payload, MSSH_SLICE_EMPTY);
}

static void log_in(rig *r, bool whole)
{
    run(r);
    (void)mssh_auth_none(mssh_session_auth(r->client), mssh_slice_of_text("user"));
    if (!whole)
        return;
    send(r, mssh_slice_of("\6\0\0\0\14ssh-userauth", 17));
    send(r, mssh_slice_of("\64", 1));
    (void)mssh_transport_set_authenticated(r->server);
    run(r);
    fuzz_require(mssh_session_authenticated(r->client));
}

/* One step: a packet of the server's, or something the client does. */
static void act(rig *r, uint8_t kind, mssh_slice payload)
{
    mssh_connection *connection = mssh_session_connection(r->client);
    mssh_channel channel = r->n_channels > 0 ? r->channels[payload.len % r->n_channels] : 0;

    switch (kind % 8) {
    case 0:
        open_channel(r);
        break;
    case 1:
        (void)mssh_transport_rekey(r->server);
        break;
    case 2:
        mssh_channel_release(connection, channel);
        break;
    case 3:
        mssh_channel_take(connection, channel, MSSH_STDOUT, payload.len);
        break;
    default:
        if (payload.len > 0)
            send(r, payload);
        break;
    }
    run(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mssh_reader reader = mssh_reader_of(mssh_slice_of(data, size));
    mssh_key *keys[1] = {server_key()};
    mssh_session_options client = {.transport = {.role = MSSH_CLIENT}};
    mssh_transport_options server = {.role = MSSH_SERVER, .host_keys = keys, .n_host_keys = 1};
    rig r = {.client = NULL};

    mssh_mem_init(&r.mem, NULL, NULL);
    fuzz_require(mssh_session_new(&r.mem, &client, &r.client, NULL) == 0);
    fuzz_require(mssh_transport_new(&r.mem, &server, &r.server, NULL) == 0);
    fuzz_require(mssh_session_start(r.client) == 0 && mssh_transport_start(r.server) == 0);
    log_in(&r, mssh_read_u8(&reader) & 1);
    while (mssh_reader_left(&reader) > 0 && mssh_session_failure(r.client)->code == 0) {
        uint8_t kind = mssh_read_u8(&reader);
        size_t len = mssh_read_u8(&reader);
        act(&r, kind, mssh_read_bytes(&reader, len));
    }
    fuzz_require(r.mem.peak < MOST_MEMORY);
    mssh_transport_free(r.server);
    mssh_session_free(r.client);
    fuzz_require(r.mem.in_use == 0);
    return 0;
}
