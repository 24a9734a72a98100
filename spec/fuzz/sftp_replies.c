/*
 * What an SFTP server answers, to a machine with requests and transfers on the way. The input is a list of
 * steps: a byte that says what, then what that takes.
 */
#include "fuzz.h"

#include "connection/connection.h"
#include "sftp/sftp.h"
#include "wire/reader.h"
#include "wire/writer.h"

enum {
    MOST_MEMORY = 48 << 20,
    MOST_SENT = 4 << 20, /* bytes that the outbox takes in one step */
    MOST_TRANSFERS = 4,
    MOST_DATA = 4096,
};

typedef struct rig {
    mssh_mem mem;
    mssh_outbox outbox;
    mssh_failure failure;
    mssh_connection *connection;
    mssh_channel channel;
    mssh_sftp *sftp;
    mssh_transfer *transfers[MOST_TRANSFERS];
    size_t room;
    bool ready, failed;
} rig;

static int take(void *self, mssh_slice head, mssh_slice body)
{
    rig *r = self;
    size_t len = head.len + body.len;

    r->room -= len < r->room ? len : r->room;
    return 0;
}

static int take_concealed(void *self, mssh_slice payload)
{
    return take(self, payload, MSSH_SLICE_EMPTY);
}

static size_t room(void *self)
{
    return ((rig *)self)->room;
}

static void open_channel(rig *r)
{
    static const uint8_t confirmation[] = {91, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0x80, 0};
    mssh_connection_options options = {.max_channels = 1};
    mssh_connection_event event;

    r->outbox = (mssh_outbox){r, take, take_concealed, room};
    r->room = MOST_SENT;
    r->connection = mssh_connection_new(&r->mem, &r->outbox, &options, &r->failure);
    fuzz_require(r->connection != NULL);
    fuzz_require(mssh_connection_open(r->connection, mssh_slice_of_text("session"), MSSH_SLICE_EMPTY,
                                      &r->channel) == 0);
    fuzz_require(
        mssh_connection_handle(r->connection, mssh_slice_of(confirmation, sizeof confirmation), &event) == 0);
    r->sftp = mssh_sftp_new(&r->mem, r->connection, r->channel);
    fuzz_require(r->sftp != NULL && mssh_sftp_start(r->sftp) == 0);
}

/* --- what comes of it */

/* A reply that is given is in form: whoever takes it apart checks no more. */
static void look_at_reply(const mssh_sftp_event *event)
{
    mssh_sftp_attributes attributes;
    mssh_sftp_names names;
    mssh_sftp_name name;

    fuzz_require(mssh_sftp_reply_valid(event->reply, event->body));
    if (event->reply == MSSH_SFTP_STATUS)
        fuzz_require(mssh_sftp_status_text(event->body).len <= event->body.len);
    if (event->reply == MSSH_SFTP_ATTRS)
        mssh_sftp_attributes_of(event->body, &attributes);
    if (event->reply == MSSH_SFTP_NAME) {
        names = mssh_sftp_names_of(event->body);
        while (mssh_sftp_names_next(&names, &name))
            ;
        fuzz_require(names.n_left == 0);
    }
}

static void look_at_transfer(const mssh_transfer *transfer)
{
    const mssh_transfer_status *status = mssh_transfer_status_of(transfer);

    fuzz_require(status->text_len <= sizeof status->text);
    fuzz_require((status->state == MSSH_TRANSFER_FAILED) == (status->cause != MSSH_TRANSFER_BY_NOTHING));
    fuzz_require(status->state != MSSH_TRANSFER_DONE || status->low == status->end);
}

static void look(rig *r, const mssh_sftp_event *event)
{
    volatile uint8_t sum = 0;

    /* Nothing of the server's comes before it is ready, nor when it has failed. */
    fuzz_require(event->type == MSSH_SFTP_READY || event->type == MSSH_SFTP_FAILED ||
                 event->type == MSSH_SFTP_TRANSFER || (r->ready && !r->failed));
    for (size_t i = 0; i < event->body.len; i++)
        sum = (uint8_t)(sum + event->body.data[i]);
    switch (event->type) {
    case MSSH_SFTP_READY:
        fuzz_require(!r->ready && !r->failed);
        r->ready = true;
        break;
    case MSSH_SFTP_REPLY:
        look_at_reply(event);
        break;
    case MSSH_SFTP_BLOCK:
        fuzz_require(event->body.len > 0 && event->offset < UINT64_MAX - event->body.len);
        break;
    case MSSH_SFTP_TRANSFER:
        look_at_transfer(event->transfer);
        break;
    default:
        fuzz_require(!r->failed && mssh_sftp_failure(r->sftp)->code != 0);
        r->failed = true;
        break;
    }
}

static void feed(rig *r, mssh_slice bytes)
{
    mssh_sftp_event event;

    for (;;) {
        size_t before = bytes.len;
        mssh_sftp_next(r->sftp, &bytes, &event);
        fuzz_require(bytes.len <= before);
        if (event.type == MSSH_SFTP_NOTHING)
            break;
        look(r, &event);
    }
    fuzz_require(bytes.len == 0 && !mssh_sftp_has_news(r->sftp));
}

/* --- steps */

/* The server's: length, type and id as they should be, and a body. */
static void answer(rig *r, uint8_t type, uint32_t id, mssh_slice body, size_t n_data)
{
    static const uint8_t data[MOST_DATA];
    mssh_buf packet;

    mssh_buf_init(&packet, &r->mem, MSSH_SFTP_PACKET_MOST);
    mssh_write_u32(&packet, (uint32_t)(5 + body.len + (n_data > 0 ? 4 + n_data : 0)));
    mssh_write_u8(&packet, type);
    mssh_write_u32(&packet, id);
    mssh_write_bytes(&packet, body);
    if (n_data > 0)
        mssh_write_string(&packet, mssh_slice_of(data, n_data));
    feed(r, mssh_buf_slice(&packet));
    mssh_buf_free(&packet);
}

static void request(rig *r, uint8_t choice)
{
    static const uint8_t expected[] = {
        0, MSSH_SFTP_HANDLE, MSSH_SFTP_DATA, MSSH_SFTP_NAME, MSSH_SFTP_ATTRS, MSSH_SFTP_EXTENDED_REPLY};
    uint32_t id;

    (void)mssh_sftp_request_send(r->sftp, choice, expected[choice % sizeof expected],
                                 mssh_slice_of_text("body"), &id);
}

static void transfer(rig *r, mssh_reader *reader)
{
    uint8_t flags = mssh_read_u8(reader);
    mssh_transfer **place = &r->transfers[flags % MOST_TRANSFERS];
    mssh_transfer_options options = {
        .sends = flags & 4,
        .block = mssh_read_u8(reader) * 16U + 1,
        .size = flags & 8 ? MSSH_TRANSFER_UNKNOWN : mssh_read_u8(reader) * 64U,
        .offset = flags & 16 ? mssh_read_u8(reader) : 0,
        .spread = mssh_read_u8(reader) * 64U + 1,
        .step = flags & 32 ? 100 : 0,
    };

    mssh_transfer_free(*place);
    *place = mssh_transfer_new(&r->mem, &options);
    fuzz_require(*place != NULL);
    (void)mssh_sftp_attach(r->sftp, *place, mssh_slice_of_text("handle"));
    if (flags & 64)
        (void)mssh_sftp_attach(r->sftp, *place, mssh_slice_of_text("again"));
}

/* Files that are sent end at `end`. */
static void pump(rig *r, size_t end)
{
    mssh_sftp_want want;

    while (mssh_sftp_pump(r->sftp, &want)) {
        size_t left = want.offset < end ? end - (size_t)want.offset : 0;
        size_t len = left < want.len ? left : want.len;
        memset(want.place, 'x', len);
        if (end == 255 * 64)
            mssh_transfer_fail(want.transfer, 5, want.offset);
        mssh_sftp_give(r->sftp, &want, end == 255 * 64 ? 0 : len);
    }
}

static void step(rig *r, mssh_reader *reader)
{
    uint8_t what = mssh_read_u8(reader);
    uint8_t type, id;

    r->room = MOST_SENT;
    switch (what % 8) {
    case 0:
        request(r, mssh_read_u8(reader));
        break;
    case 1:
        transfer(r, reader);
        break;
    case 2:
        pump(r, mssh_read_u8(reader) * 64U);
        break;
    case 3:
        feed(r, mssh_read_bytes(reader, mssh_read_u8(reader)));
        break;
    case 4:
        mssh_transfer_free(r->transfers[what / 8 % MOST_TRANSFERS]);
        r->transfers[what / 8 % MOST_TRANSFERS] = NULL;
        break;
    case 5:
        if (what == 0xfd)
            mssh_sftp_stop(r->sftp);
        else
            mssh_sftp_tick(r->sftp, (uint64_t)mssh_read_u8(reader) << (what / 8));
        break;
    case 6: /* data of a block */
        id = mssh_read_u8(reader);
        answer(r, MSSH_SFTP_DATA, (id & 31U) | (id & 0x60U) << 11, MSSH_SLICE_EMPTY,
               (size_t)mssh_read_u8(reader) * 16 + 1);
        break;
    default: /* any reply */
        type = mssh_read_u8(reader);
        id = mssh_read_u8(reader);
        answer(r, type, (id & 31U) | (id & 0x60U) << 11, mssh_read_bytes(reader, mssh_read_u8(reader)), 0);
        break;
    }
    feed(r, MSSH_SLICE_EMPTY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mssh_reader reader = mssh_reader_of(mssh_slice_of(data, size));
    rig r = {.connection = NULL};

    mssh_mem_init(&r.mem, NULL, NULL);
    open_channel(&r);
    if (mssh_read_u8(&reader) & 1)
        answer(&r, MSSH_SFTP_VERSION, MSSH_SFTP_OUR_VERSION, MSSH_SLICE_EMPTY, 0);
    while (mssh_reader_left(&reader) > 0)
        step(&r, &reader);
    fuzz_require(r.mem.peak < MOST_MEMORY);
    /* In one order or the other: neither outlives what the other needs. */
    if (size % 2 == 0)
        mssh_sftp_free(r.sftp);
    for (size_t i = 0; i < MOST_TRANSFERS; i++)
        mssh_transfer_free(r.transfers[i]);
    if (size % 2 == 1)
        mssh_sftp_free(r.sftp);
    mssh_connection_free(r.connection);
    fuzz_require(r.mem.in_use == 0);
    return 0;
}
