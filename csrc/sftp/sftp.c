#include "sftp/state.h"

#include "wire/writer.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    OUT_MOST = 16 * 1024 * 1024,
    REQUESTS_ROOM = 64 * 1024, /* requests that may be queued in front of further blocks */
    SHOWN_MOST = 64,           /* bytes of an answer that is no SFTP, in the message */
};

/* --- making and freeing */

mssh_sftp *mssh_sftp_new(mssh_mem *mem, mssh_connection *connection, mssh_channel channel)
{
    mssh_sftp *sftp = mssh_alloc(mem, sizeof *sftp);

    if (sftp == NULL)
        return NULL;
    sftp->mem = mem;
    sftp->connection = connection;
    sftp->channel = channel;
    mssh_buf_init(&sftp->body, mem, MSSH_SFTP_PACKET_MOST);
    mssh_buf_init(&sftp->out, mem, OUT_MOST);
    mssh_sftp_requests_init(&sftp->requests, mem);
    mssh_path_init(sftp);
    return sftp;
}

static void drop_lanes(mssh_sftp *sftp, int code)
{
    while (sftp->lanes != NULL) {
        mssh_transfer *transfer = sftp->lanes->transfer;
        mssh_transfer_end(transfer, MSSH_TRANSFER_BY_CHANNEL, code, transfer->status.low);
        mssh_lane_free(sftp->lanes);
        if (transfer->lanes != NULL)
            mssh_transfer_tell(transfer, transfer->lanes->sftp);
    }
}

void mssh_sftp_free(mssh_sftp *sftp)
{
    if (sftp == NULL)
        return;
    drop_lanes(sftp, MSSH_ERR_CLOSED);
    while (sftp->news != NULL)
        mssh_transfer_untell(sftp->news);
    mssh_buf_free(&sftp->body);
    mssh_buf_free(&sftp->out);
    mssh_sftp_requests_free(&sftp->requests);
    mssh_free(sftp->mem, sftp, sizeof *sftp);
}

const mssh_failure *mssh_sftp_failure(const mssh_sftp *sftp)
{
    return &sftp->failure;
}

void mssh_sftp_fail(mssh_sftp *sftp, int code, const char *format, ...)
{
    char text[MSSH_FAILURE_MESSAGE_MAX];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)mssh_fail(&sftp->failure, code, 0, "%s", text);
    sftp->expect = MSSH_SFTP_EXPECT_NOTHING;
    drop_lanes(sftp, sftp->failure.code);
}

void mssh_sftp_stop(mssh_sftp *sftp)
{
    mssh_sftp_fail(sftp, MSSH_ERR_CLOSED, "the channel was closed");
    sftp->failure_told = true;
}

/* --- sending */

size_t mssh_sftp_flush(mssh_sftp *sftp)
{
    mssh_slice queued = mssh_buf_slice(&sftp->out);
    size_t taken = 0;

    if (queued.len > 0 &&
        mssh_channel_write(sftp->connection, sftp->channel, MSSH_STDOUT, queued, &taken) == 0)
        mssh_buf_consume(&sftp->out, taken);
    return queued.len - taken;
}

static void write_head(mssh_sftp *sftp, uint8_t type, uint32_t id, size_t body_len)
{
    mssh_write_u32(&sftp->out, (uint32_t)(body_len + 5));
    mssh_write_u8(&sftp->out, type);
    mssh_write_u32(&sftp->out, id);
}

int mssh_sftp_start(mssh_sftp *sftp)
{
    mssh_write_u32(&sftp->out, 5);
    mssh_write_u8(&sftp->out, MSSH_SFTP_INIT);
    mssh_write_u32(&sftp->out, MSSH_SFTP_OUR_VERSION);
    if (sftp->out.error == 0)
        (void)mssh_sftp_flush(sftp);
    return sftp->out.error;
}

int mssh_sftp_request_send(mssh_sftp *sftp, uint8_t type, uint8_t expected, mssh_slice body, uint32_t *id)
{
    mssh_sftp_request *request;
    int err;

    if (sftp->failure.code != 0)
        return sftp->failure.code;
    if (!sftp->ready)
        return MSSH_ERR_STATE;
    if (body.len > MSSH_SFTP_PACKET_MOST - 5 || mssh_buf_len(&sftp->out) > OUT_MOST / 2)
        return MSSH_ERR_LIMIT;
    /* All that may fail comes first: half a packet would put the stream out of step. */
    if (mssh_buf_reserve(&sftp->out, MSSH_SFTP_HEAD_LEN + body.len) == NULL) {
        sftp->out.error = 0;
        return MSSH_ERR_MEMORY;
    }
    err = mssh_sftp_requests_add(&sftp->requests, &request);
    if (err != 0)
        return err;
    request->expected = expected;
    *id = request->id;
    write_head(sftp, type, request->id, body.len);
    mssh_write_bytes(&sftp->out, body);
    (void)mssh_sftp_flush(sftp);
    return 0;
}

int mssh_sftp_write_head(mssh_sftp *sftp, uint8_t type, uint32_t id, const mssh_lane *lane, uint32_t rest)
{
    write_head(sftp, type, id, 4 + lane->handle_len + rest);
    mssh_write_string(&sftp->out, mssh_slice_of(lane->handle, lane->handle_len));
    return sftp->out.error;
}

/* --- receiving */

/* What a login script printed into the channel is shown: nothing else would tell its reader what to mend. */
static void fail_with_text(mssh_sftp *sftp, mssh_slice rest)
{
    uint8_t raw[MSSH_SFTP_HEAD_LEN + SHOWN_MOST];
    char text[4 * sizeof raw + 4];
    size_t more = rest.len < SHOWN_MOST ? rest.len : SHOWN_MOST;

    memcpy(raw, sftp->head, sftp->head_len);
    if (more > 0)
        memcpy(raw + sftp->head_len, rest.data, more);
    mssh_sftp_fail(sftp, MSSH_ERR_PROTOCOL, "the server sent what is not SFTP: %s",
                   mssh_escape(text, sizeof text, raw, sftp->head_len + more));
}

/* VERSION comes first, and once. */
static void begin_version(mssh_sftp *sftp, mssh_slice rest)
{
    if (sftp->type != MSSH_SFTP_VERSION)
        fail_with_text(sftp, rest);
    else if (sftp->id < MSSH_SFTP_OUR_VERSION)
        mssh_sftp_fail(sftp, MSSH_ERR_UNSUPPORTED, "the server speaks version %lu of SFTP, not 3",
                       (unsigned long)sftp->id);
    else
        sftp->expect = MSSH_SFTP_EXPECT_BODY;
}

static void begin_reply(mssh_sftp *sftp)
{
    const mssh_sftp_request *request = mssh_sftp_requests_find(&sftp->requests, sftp->id);

    if (request == NULL)
        mssh_sftp_fail(sftp, MSSH_ERR_PROTOCOL, "the server answered request %lu, which is not open",
                       (unsigned long)sftp->id);
    else if (sftp->type != MSSH_SFTP_STATUS && (sftp->type != request->expected || request->expected == 0))
        mssh_sftp_fail(sftp, MSSH_ERR_PROTOCOL, "the server answered with packet type %u where %u was due",
                       sftp->type, request->expected > 0 ? request->expected : MSSH_SFTP_STATUS);
    else if (request->is_block && sftp->type == MSSH_SFTP_DATA)
        sftp->expect = MSSH_SFTP_EXPECT_SIZE;
    else
        sftp->expect = MSSH_SFTP_EXPECT_BODY;
}

/* Takes up to `len` bytes in all into a buffer; true when they are complete. */
static bool collect(uint8_t *place, size_t *have, size_t len, mssh_slice *bytes)
{
    size_t n = len - *have < bytes->len ? len - *have : bytes->len;

    if (n > 0)
        memcpy(place + *have, bytes->data, n);
    *have += n;
    *bytes = mssh_slice_of(bytes->data + n, bytes->len - n);
    return *have == len;
}

static void take_head(mssh_sftp *sftp, mssh_slice *bytes)
{
    uint32_t length;

    mssh_buf_consume(&sftp->body, mssh_buf_len(&sftp->body)); /* of the packet before */
    if (!collect(sftp->head, &sftp->head_len, sizeof sftp->head, bytes))
        return;
    length = mssh_load_u32(sftp->head);
    sftp->type = sftp->head[4];
    sftp->id = mssh_load_u32(sftp->head + 5);
    if (length < 5 || length > MSSH_SFTP_PACKET_MOST) {
        if (sftp->ready)
            mssh_sftp_fail(sftp, MSSH_ERR_PROTOCOL, "the server sent a packet of %lu bytes",
                           (unsigned long)length);
        else
            fail_with_text(sftp, *bytes);
        return;
    }
    sftp->left = length - 5;
    if (sftp->ready)
        begin_reply(sftp);
    else
        begin_version(sftp, *bytes);
    sftp->head_len = 0;
}

/* uint32 length of the data, which fill the rest of the packet */
static void take_size(mssh_sftp *sftp, mssh_slice *bytes)
{
    mssh_sftp_request *request = mssh_sftp_requests_find(&sftp->requests, sftp->id);
    uint32_t length;

    if (sftp->left < 4) {
        mssh_sftp_fail(sftp, MSSH_ERR_PROTOCOL, "malformed DATA");
        return;
    }
    if (!collect(sftp->head, &sftp->head_len, 4, bytes))
        return;
    sftp->head_len = 0;
    sftp->left -= 4;
    length = mssh_load_u32(sftp->head);
    if (request == NULL || length != sftp->left || length == 0 || length > request->len) {
        mssh_sftp_fail(sftp, MSSH_ERR_PROTOCOL,
                       "the server sent %lu bytes of data in a packet for %lu, of %lu "
                       "that were asked for",
                       (unsigned long)length, (unsigned long)sftp->left,
                       (unsigned long)(request != NULL ? request->len : 0));
        return;
    }
    mssh_path_answered(sftp, request);
    sftp->block_len = length;
    sftp->expect = MSSH_SFTP_EXPECT_DATA;
}

/* Pieces of a block are put together, so that it goes to its file in one write: empty until the last. */
static mssh_slice take_piece(mssh_sftp *sftp, mssh_slice *bytes)
{
    size_t n = sftp->left < bytes->len ? sftp->left : bytes->len;
    mssh_slice piece = mssh_slice_of(bytes->data, n);

    *bytes = mssh_slice_of(bytes->data + n, bytes->len - n);
    sftp->left -= (uint32_t)n;
    sftp->delivered += n;
    if (sftp->left == 0 && mssh_buf_len(&sftp->body) == 0)
        return piece;
    if (mssh_buf_reserve(&sftp->body, n + sftp->left) == NULL) {
        mssh_sftp_fail(sftp, MSSH_ERR_MEMORY, "no memory for a block");
        return MSSH_SLICE_EMPTY;
    }
    (void)mssh_buf_append(&sftp->body, piece.data, n);
    return sftp->left == 0 ? mssh_buf_slice(&sftp->body) : MSSH_SLICE_EMPTY;
}

static void take_data(mssh_sftp *sftp, mssh_slice *bytes, mssh_sftp_event *event)
{
    mssh_sftp_request *request = mssh_sftp_requests_find(&sftp->requests, sftp->id);
    mssh_slice block;

    if (sftp->left == 0) {
        mssh_block_received(sftp, request, sftp->block_len);
        sftp->expect = sftp->failure.code == 0 ? MSSH_SFTP_EXPECT_HEAD : MSSH_SFTP_EXPECT_NOTHING;
        return;
    }
    block = take_piece(sftp, bytes);
    if (block.len > 0 && request->lane != NULL &&
        request->lane->transfer->status.state == MSSH_TRANSFER_MOVING) {
        event->type = MSSH_SFTP_BLOCK;
        event->transfer = request->lane->transfer;
        event->offset = request->offset;
        event->body = block;
    }
}

static void finish_version(mssh_sftp *sftp, mssh_sftp_event *event)
{
    if (!mssh_sftp_version_valid(mssh_buf_slice(&sftp->body))) {
        mssh_sftp_fail(sftp, MSSH_ERR_PROTOCOL, "malformed VERSION");
        return;
    }
    sftp->ready = true;
    event->type = MSSH_SFTP_READY;
    event->number = sftp->id;
    event->body = mssh_buf_slice(&sftp->body);
}

static void finish_reply(mssh_sftp *sftp, mssh_sftp_event *event)
{
    mssh_sftp_request *request = mssh_sftp_requests_find(&sftp->requests, sftp->id);
    mssh_slice body = mssh_buf_slice(&sftp->body);

    if (!mssh_sftp_reply_valid(sftp->type, body)) {
        mssh_sftp_fail(sftp, MSSH_ERR_PROTOCOL, "malformed reply of type %u", sftp->type);
        return;
    }
    /* OK is an answer only where nothing else was to come. */
    if (sftp->type == MSSH_SFTP_STATUS && mssh_sftp_status_code(body) == MSSH_SFTP_OK &&
        request->expected != 0) {
        mssh_sftp_fail(sftp, MSSH_ERR_PROTOCOL, "the server answered with OK where type %u was due",
                       request->expected);
        return;
    }
    if (request->is_block) {
        mssh_block_status(sftp, request, body);
        return;
    }
    mssh_sftp_requests_remove(&sftp->requests, request);
    event->type = MSSH_SFTP_REPLY;
    event->id = sftp->id;
    event->reply = sftp->type;
    event->body = body;
}

static void take_body(mssh_sftp *sftp, mssh_slice *bytes, mssh_sftp_event *event)
{
    size_t n = sftp->left < bytes->len ? sftp->left : bytes->len;

    if (mssh_buf_append(&sftp->body, bytes->data, n) != 0) {
        mssh_sftp_fail(sftp, MSSH_ERR_MEMORY, "no memory for a reply");
        return;
    }
    sftp->left -= (uint32_t)n;
    *bytes = mssh_slice_of(bytes->data + n, bytes->len - n);
    if (sftp->left > 0)
        return;
    sftp->expect = MSSH_SFTP_EXPECT_HEAD;
    if (sftp->ready)
        finish_reply(sftp, event);
    else
        finish_version(sftp, event);
}

static bool tell_news(mssh_sftp *sftp, mssh_sftp_event *event)
{
    if (sftp->news != NULL) {
        event->type = MSSH_SFTP_TRANSFER;
        event->transfer = sftp->news;
        mssh_transfer_untell(sftp->news);
        return true;
    }
    if (sftp->failure.code != 0 && !sftp->failure_told) {
        sftp->failure_told = true;
        event->type = MSSH_SFTP_FAILED;
        return true;
    }
    return false;
}

bool mssh_sftp_has_news(const mssh_sftp *sftp)
{
    return sftp->news != NULL || (sftp->failure.code != 0 && !sftp->failure_told);
}

void mssh_sftp_next(mssh_sftp *sftp, mssh_slice *bytes, mssh_sftp_event *event)
{
    *event = (mssh_sftp_event){.type = MSSH_SFTP_NOTHING};
    while (event->type == MSSH_SFTP_NOTHING && !tell_news(sftp, event)) {
        bool between = sftp->expect == MSSH_SFTP_EXPECT_HEAD || sftp->left > 0;
        if (sftp->expect == MSSH_SFTP_EXPECT_NOTHING || (bytes->len == 0 && between))
            break;
        switch (sftp->expect) {
        case MSSH_SFTP_EXPECT_HEAD:
            take_head(sftp, bytes);
            break;
        case MSSH_SFTP_EXPECT_BODY:
            take_body(sftp, bytes, event);
            break;
        case MSSH_SFTP_EXPECT_SIZE:
            take_size(sftp, bytes);
            break;
        default:
            take_data(sftp, bytes, event);
            break;
        }
    }
    if (sftp->expect == MSSH_SFTP_EXPECT_NOTHING)
        *bytes = MSSH_SLICE_EMPTY;
}
