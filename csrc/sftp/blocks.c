/* The blocks of transfers on one channel: asked for, sent, answered; and how many the path takes at once. */
#include "sftp/state.h"

#include "wire/writer.h"

enum {
    FIRST_TARGET = 4 * 1024 * 1024,
    LEAST_TARGET = 1024 * 1024,
    MOST_TARGET = 64 * 1024 * 1024,
    RATE_DECAY = 32,            /* the rate falls to what is measured by a part of this size each time */
    BLOCKS_MOST = 4096,         /* on the way in one channel */
    WINDOW_SPARE = 1024 * 1024, /* of the window beyond the files: other answers, and what is being granted */
    OUT_LOW = 32 * 1024,        /* requests queued beside which another block is prepared */
    READ_REST = 8 + 4,          /* of READ behind the handle: uint64 offset, uint32 length */
    WRITE_REST = 8 + 4,         /* of WRITE: uint64 offset, uint32 length of the data */
};

/* --- the path */

void mssh_path_init(mssh_sftp *sftp)
{
    sftp->path.target = FIRST_TARGET;
}

void mssh_sftp_tick(mssh_sftp *sftp, uint64_t now_us)
{
    sftp->now = now_us;
}

void mssh_sftp_path_get(const mssh_sftp *sftp, mssh_sftp_path *path)
{
    *path = sftp->path;
}

void mssh_path_answered(mssh_sftp *sftp, const mssh_sftp_request *request)
{
    uint64_t took = sftp->now > request->sent_at ? sftp->now - request->sent_at : 1;

    if (sftp->path.round_trip_us == 0 || took < sftp->path.round_trip_us)
        sftp->path.round_trip_us = took;
}

/* Twice what the path holds: its shortest round trip at the rate of late. While less is on the way than it
 * holds, the rate, and with it the target, doubles with each round trip; then both stay. */
static void measure(mssh_sftp *sftp, const mssh_sftp_request *request)
{
    mssh_sftp_path *path = &sftp->path;
    uint64_t took = sftp->now > request->sent_at ? sftp->now - request->sent_at : 1;
    uint64_t rate = (sftp->delivered - request->delivered) * 1000000 / took;
    uint64_t target;

    if (rate > path->rate)
        path->rate = rate;
    else
        path->rate -= (path->rate - rate) / RATE_DECAY;
    target = path->rate / 1000 * path->round_trip_us / 1000 * 2;
    if (target < LEAST_TARGET)
        target = LEAST_TARGET;
    path->target = target < MOST_TARGET ? target : MOST_TARGET;
}

/* --- lanes */

int mssh_sftp_attach(mssh_sftp *sftp, mssh_transfer *transfer, mssh_slice handle)
{
    mssh_lane *lane;

    if (sftp->failure.code != 0)
        return sftp->failure.code;
    if (handle.len > MSSH_SFTP_HANDLE_MOST)
        return MSSH_ERR_LIMIT;
    lane = mssh_alloc(transfer->mem, sizeof *lane);
    if (lane == NULL)
        return MSSH_ERR_MEMORY;
    lane->sftp = sftp;
    lane->transfer = transfer;
    lane->handle_len = handle.len;
    if (handle.len > 0)
        memcpy(lane->handle, handle.data, handle.len);
    lane->next_of_transfer = transfer->lanes;
    transfer->lanes = lane;
    transfer->status.n_lanes++;
    if (sftp->lanes == NULL) {
        sftp->lanes = lane->next_of_sftp = lane->previous_of_sftp = lane;
    } else {
        lane->next_of_sftp = sftp->lanes;
        lane->previous_of_sftp = sftp->lanes->previous_of_sftp;
        lane->previous_of_sftp->next_of_sftp = lane;
        sftp->lanes->previous_of_sftp = lane;
    }
    return 0;
}

void mssh_lane_free(mssh_lane *lane)
{
    mssh_sftp *sftp = lane->sftp;
    mssh_transfer *transfer = lane->transfer;
    mssh_lane **at = &transfer->lanes;

    for (uint32_t i = 0; lane->n_flying > 0 && i < sftp->requests.n_slots; i++) {
        mssh_sftp_request *request = &sftp->requests.slots[i];
        if (request->used && request->lane == lane) {
            request->lane = NULL;
            lane->n_flying--;
        }
    }
    while (*at != lane)
        at = &(*at)->next_of_transfer;
    *at = lane->next_of_transfer;
    transfer->status.n_lanes--;
    if (transfer->news_at == sftp)
        mssh_transfer_move_news(transfer);
    if (sftp->lanes == lane)
        sftp->lanes = lane->next_of_sftp == lane ? NULL : lane->next_of_sftp;
    lane->previous_of_sftp->next_of_sftp = lane->next_of_sftp;
    lane->next_of_sftp->previous_of_sftp = lane->previous_of_sftp;
    mssh_free(transfer->mem, lane, sizeof *lane);
}

/* --- answers */

static mssh_transfer *moving(const mssh_sftp_request *request)
{
    mssh_transfer *transfer = request->lane != NULL ? request->lane->transfer : NULL;

    return transfer != NULL && transfer->status.state == MSSH_TRANSFER_MOVING ? transfer : NULL;
}

/* The request was answered: what it was is given, and the place is free. */
static mssh_sftp_request done(mssh_sftp *sftp, mssh_sftp_request *request)
{
    mssh_sftp_request copy = *request;

    sftp->flying -= request->len;
    if (request->lane != NULL)
        request->lane->n_flying--;
    mssh_sftp_requests_remove(&sftp->requests, request);
    return copy;
}

static int send_read(mssh_sftp *sftp, mssh_lane *lane, uint64_t number, uint64_t offset, uint32_t len)
{
    mssh_sftp_request *request;
    int err;

    if (mssh_buf_reserve(&sftp->out, MSSH_SFTP_HEAD_LEN + 4 + lane->handle_len + READ_REST) == NULL)
        return MSSH_ERR_MEMORY;
    err = mssh_sftp_requests_add(&sftp->requests, &request);
    if (err != 0)
        return err;
    request->expected = MSSH_SFTP_DATA;
    request->is_block = true;
    request->lane = lane;
    request->block = number;
    request->offset = offset;
    request->len = len;
    request->sent_at = sftp->now;
    request->delivered = sftp->delivered;
    lane->n_flying++;
    sftp->flying += len;
    (void)mssh_sftp_write_head(sftp, MSSH_SFTP_READ, request->id, lane, READ_REST);
    mssh_write_u64(&sftp->out, offset);
    mssh_write_u32(&sftp->out, len);
    return 0;
}

void mssh_block_received(mssh_sftp *sftp, mssh_sftp_request *request, uint32_t len)
{
    mssh_transfer *transfer = moving(request);
    mssh_sftp_request answered;
    uint32_t rest;

    measure(sftp, request);
    answered = done(sftp, request);
    if (transfer == NULL)
        return;
    rest = mssh_transfer_block_moved(transfer, answered.block, answered.offset, len, answered.len);
    if (rest > 0 && send_read(sftp, answered.lane, answered.block, answered.offset + len, rest) != 0)
        mssh_sftp_fail(sftp, MSSH_ERR_MEMORY, "no memory for a request");
    else
        mssh_transfer_tell(transfer, sftp);
}

void mssh_block_status(mssh_sftp *sftp, mssh_sftp_request *request, mssh_slice body)
{
    mssh_transfer *transfer = moving(request);
    mssh_sftp_request answered = done(sftp, request);
    mssh_reader reader = mssh_reader_of(body);
    uint32_t code = mssh_read_u32(&reader);

    mssh_path_answered(sftp, &answered);
    if (transfer == NULL)
        return;
    if (!transfer->options.sends && code == MSSH_SFTP_EOF)
        mssh_transfer_block_ended(transfer, answered.block, answered.offset);
    else if (transfer->options.sends && code == MSSH_SFTP_OK)
        (void)mssh_transfer_block_moved(transfer, answered.block, answered.offset, answered.len,
                                        answered.len);
    else
        mssh_transfer_refused(transfer, answered.offset, code, mssh_read_string(&reader));
    mssh_transfer_tell(transfer, sftp);
}

/* --- moving */

/* The lane whose turn it is among those that want a block; the one behind it is next. */
static mssh_lane *next_lane(mssh_sftp *sftp, bool sends)
{
    mssh_lane *first = sftp->lanes;
    mssh_lane *lane = first;

    if (lane == NULL)
        return NULL;
    do {
        if (lane->transfer->options.sends == sends && mssh_transfer_wants_block(lane->transfer)) {
            sftp->lanes = lane->next_of_sftp;
            return lane;
        }
        lane = lane->next_of_sftp;
    } while (lane != first);
    return NULL;
}

static bool ask_for_block(mssh_sftp *sftp)
{
    mssh_lane *lane;
    mssh_block block;
    uint64_t number;
    int err;

    if (sftp->flying >= sftp->path.target || sftp->requests.n_used >= BLOCKS_MOST ||
        mssh_buf_len(&sftp->out) > OUT_LOW)
        return false;
    lane = next_lane(sftp, false);
    if (lane == NULL)
        return false;
    /* What is asked for comes, and goes to its file at once: the window need not find that out by itself. */
    mssh_channel_widen(sftp->connection, sftp->channel, (uint32_t)sftp->path.target + WINDOW_SPARE);
    err = mssh_transfer_begin_block(lane->transfer, &block, &number);
    if (err == 0)
        err = send_read(sftp, lane, number, block.offset, (uint32_t)(block.end - block.offset));
    if (err != 0)
        mssh_sftp_fail(sftp, err, "no memory for a request");
    return err == 0;
}

/* Whether the channel takes data now: a block is read from its file only then, not to wait in memory. */
static bool has_window(mssh_sftp *sftp)
{
    mssh_channel_state state;
    const mssh_outbox *outbox = sftp->connection->outbox;

    if (!mssh_channel_state_get(sftp->connection, sftp->channel, &state) || !state.open)
        return false;
    return state.send_window > 0 && outbox->room(outbox->self) > 0;
}

/* Takes note that the window is used up while there is something to send. */
static void note_short(mssh_sftp *sftp)
{
    mssh_channel_state state;

    if (mssh_channel_state_get(sftp->connection, sftp->channel, &state) && state.open &&
        state.send_window == 0)
        sftp->path.n_short++;
}

static bool prepare_block(mssh_sftp *sftp, mssh_sftp_want *want)
{
    mssh_lane *lane;
    mssh_block block;
    mssh_sftp_request *request;
    size_t head_len, len;
    uint64_t number;
    uint8_t *place;

    if (sftp->requests.n_used >= BLOCKS_MOST)
        return false;
    lane = next_lane(sftp, true);
    if (lane == NULL || !has_window(sftp))
        return false;
    head_len = MSSH_SFTP_HEAD_LEN + 4 + lane->handle_len + WRITE_REST;
    place = mssh_buf_reserve(&sftp->out, head_len + lane->transfer->options.block);
    if (place == NULL || mssh_sftp_requests_add(&sftp->requests, &request) != 0) {
        mssh_sftp_fail(sftp, MSSH_ERR_MEMORY, "no memory for a request");
        return false;
    }
    request->is_block = true;
    request->lane = lane;
    request->sent_at = sftp->now;
    lane->n_flying++;
    if (mssh_transfer_begin_block(lane->transfer, &block, &number) != 0) {
        mssh_sftp_fail(sftp, MSSH_ERR_MEMORY, "no memory for a request");
        return false;
    }
    request->block = number;
    request->offset = block.offset;
    sftp->wanted = request->id;
    len = (size_t)(block.end - block.offset);
    *want = (mssh_sftp_want){lane->transfer, block.offset, place + head_len, len};
    return true;
}

bool mssh_sftp_pump(mssh_sftp *sftp, mssh_sftp_want *want)
{
    if (sftp->failure.code != 0)
        return false;
    while (ask_for_block(sftp))
        ;
    if (mssh_sftp_flush(sftp) > 0) {
        note_short(sftp);
        return false;
    }
    return sftp->failure.code == 0 && prepare_block(sftp, want);
}

/* The place that was filled lies behind where the head goes now. */
void mssh_sftp_give(mssh_sftp *sftp, const mssh_sftp_want *want, size_t len)
{
    mssh_sftp_request *request = mssh_sftp_requests_find(&sftp->requests, sftp->wanted);
    mssh_lane *lane = request->lane;

    mssh_transfer_cut_block(want->transfer, request->block, len);
    if (len == 0) {
        (void)done(sftp, request);
        mssh_transfer_tell(want->transfer, sftp);
        return;
    }
    request->len = (uint32_t)len;
    sftp->flying += len;
    (void)mssh_sftp_write_head(sftp, MSSH_SFTP_WRITE, request->id, lane, (uint32_t)(WRITE_REST + len));
    mssh_write_u64(&sftp->out, want->offset);
    mssh_write_u32(&sftp->out, (uint32_t)len);
    mssh_buf_commit(&sftp->out, len);
    (void)mssh_sftp_flush(sftp);
}
