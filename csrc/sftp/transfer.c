#include "sftp/state.h"

#include <string.h>

enum { RING_LEAST = 2, RING_MOST = 1024 };

/* --- making and freeing */

static mssh_block *block_of(const mssh_transfer *transfer, uint64_t number)
{
    return &transfer->ring[number & (transfer->n_ring - 1)];
}

mssh_transfer *mssh_transfer_new(mssh_mem *mem, const mssh_transfer_options *options)
{
    mssh_transfer *transfer = mssh_alloc(mem, sizeof *transfer);

    if (transfer == NULL)
        return NULL;
    transfer->mem = mem;
    transfer->options = *options;
    transfer->size = options->size;
    transfer->next = options->offset;
    transfer->high = options->offset;
    transfer->status.low = options->offset;
    transfer->status.end = MSSH_TRANSFER_UNKNOWN;
    return transfer;
}

void mssh_transfer_free(mssh_transfer *transfer)
{
    if (transfer == NULL)
        return;
    mssh_transfer_untell(transfer);
    while (transfer->lanes != NULL)
        mssh_lane_free(transfer->lanes);
    mssh_free(transfer->mem, transfer->ring, transfer->n_ring * sizeof *transfer->ring);
    mssh_free(transfer->mem, transfer, sizeof *transfer);
}

void *mssh_transfer_user(const mssh_transfer *transfer)
{
    return transfer->options.user;
}

const mssh_transfer_status *mssh_transfer_status_of(const mssh_transfer *transfer)
{
    return &transfer->status;
}

/* --- news */

void mssh_transfer_tell(mssh_transfer *transfer, mssh_sftp *sftp)
{
    if (!transfer->has_news || transfer->news_at != NULL)
        return;
    transfer->news_at = sftp;
    transfer->next_news = NULL;
    if (sftp->news == NULL)
        sftp->news = transfer;
    else
        sftp->last_news->next_news = transfer;
    sftp->last_news = transfer;
}

void mssh_transfer_untell(mssh_transfer *transfer)
{
    mssh_sftp *sftp = transfer->news_at;
    mssh_transfer **at;

    if (sftp == NULL)
        return;
    for (at = &sftp->news; *at != transfer; at = &(*at)->next_news)
        ;
    *at = transfer->next_news;
    sftp->last_news = NULL;
    for (mssh_transfer *each = sftp->news; each != NULL; each = each->next_news)
        sftp->last_news = each;
    transfer->news_at = NULL;
    transfer->has_news = false;
    transfer->told = transfer->status.moved;
}

void mssh_transfer_move_news(mssh_transfer *transfer)
{
    bool had_news = transfer->has_news;

    mssh_transfer_untell(transfer);
    transfer->has_news = had_news;
    if (transfer->lanes != NULL)
        mssh_transfer_tell(transfer, transfer->lanes->sftp);
}

void mssh_transfer_end(mssh_transfer *transfer, mssh_transfer_cause cause, int number, uint64_t offset)
{
    mssh_transfer_status *status = &transfer->status;

    if (status->state != MSSH_TRANSFER_MOVING)
        return;
    if (transfer->first < transfer->last && block_of(transfer, transfer->first)->got > status->low)
        status->low = block_of(transfer, transfer->first)->got;
    status->state = cause == MSSH_TRANSFER_BY_NOTHING ? MSSH_TRANSFER_DONE : MSSH_TRANSFER_FAILED;
    status->cause = cause;
    status->number = number;
    status->offset = offset;
    transfer->has_news = true;
}

void mssh_transfer_fail(mssh_transfer *transfer, int number, uint64_t offset)
{
    mssh_transfer_end(transfer, MSSH_TRANSFER_BY_FILE, number, offset);
    if (transfer->lanes != NULL)
        mssh_transfer_tell(transfer, transfer->lanes->sftp);
}

/* --- blocks */

/* How far blocks are asked for: one byte beyond the size, or, while that is not known, as long as full blocks
 * come: twice as far each time. Behind the end of a file that grows, one by one: data that come to be there
 * later than what is before them would leave a gap. */
static uint64_t limit(const mssh_transfer *transfer)
{
    uint64_t begun = transfer->grown ? 0 : transfer->status.low - transfer->options.offset;

    if (transfer->status.end != MSSH_TRANSFER_UNKNOWN)
        return 0;
    if (transfer->options.sends)
        return MSSH_TRANSFER_UNKNOWN;
    if (transfer->size != MSSH_TRANSFER_UNKNOWN)
        return transfer->size + 1;
    return transfer->status.low + begun + transfer->options.block;
}

bool mssh_transfer_wants_block(const mssh_transfer *transfer)
{
    if (transfer->status.state != MSSH_TRANSFER_MOVING || transfer->next >= limit(transfer))
        return false;
    return transfer->last - transfer->first < RING_MOST &&
           transfer->next - transfer->status.low < transfer->options.spread;
}

/* The ring is as large as what is on the way has become: for a small file that is next to nothing. */
static int make_room(mssh_transfer *transfer)
{
    uint64_t n_ring = transfer->n_ring == 0 ? RING_LEAST : transfer->n_ring * 2;
    mssh_block *ring;

    if (transfer->last - transfer->first < transfer->n_ring)
        return 0;
    ring = mssh_alloc(transfer->mem, n_ring * sizeof *ring);
    if (ring == NULL)
        return MSSH_ERR_MEMORY;
    for (uint64_t i = transfer->first; i < transfer->last; i++)
        ring[i & (n_ring - 1)] = *block_of(transfer, i);
    mssh_free(transfer->mem, transfer->ring, transfer->n_ring * sizeof *ring);
    transfer->ring = ring;
    transfer->n_ring = n_ring;
    return 0;
}

int mssh_transfer_begin_block(mssh_transfer *transfer, mssh_block *block, uint64_t *number)
{
    uint64_t most = limit(transfer) - transfer->next;
    uint64_t len = most < transfer->options.block ? most : transfer->options.block;
    int err = make_room(transfer);

    if (err != 0)
        return err;
    *block = (mssh_block){.offset = transfer->next, .end = transfer->next + len};
    *number = transfer->last;
    *block_of(transfer, transfer->last++) = *block;
    transfer->next += len;
    return 0;
}

void mssh_transfer_cut_block(mssh_transfer *transfer, uint64_t number, size_t len)
{
    mssh_block *block = block_of(transfer, number);

    block->end = block->offset + len;
    transfer->next = block->end;
    if (len > 0)
        return;
    transfer->status.end = transfer->next;
    transfer->last--;
    if (transfer->first == transfer->last)
        mssh_transfer_end(transfer, MSSH_TRANSFER_BY_NOTHING, 0, 0);
}

/* Moves the mark below which all is done. The end is reached when nothing is on the way and it is known. */
static void advance(mssh_transfer *transfer)
{
    mssh_transfer_status *status = &transfer->status;

    while (transfer->first < transfer->last && block_of(transfer, transfer->first)->done) {
        const mssh_block *block = block_of(transfer, transfer->first++);
        if (block->end > status->low)
            status->low = block->end < status->end ? block->end : status->end;
    }
    if (transfer->options.step > 0 && status->moved - transfer->told >= transfer->options.step)
        transfer->has_news = true;
    if (status->end == MSSH_TRANSFER_UNKNOWN || transfer->first < transfer->last)
        return;
    if (transfer->high > status->end)
        mssh_transfer_end(transfer, MSSH_TRANSFER_BY_CHANGE, 0, status->end);
    else
        mssh_transfer_end(transfer, MSSH_TRANSFER_BY_NOTHING, 0, 0);
}

uint32_t mssh_transfer_block_moved(mssh_transfer *transfer, uint64_t number, uint64_t offset, uint32_t len,
                                   uint32_t asked)
{
    mssh_block *block = block_of(transfer, number);
    uint64_t end = offset + len;

    transfer->status.moved += len;
    if (end > transfer->high)
        transfer->high = end;
    if (transfer->size != MSSH_TRANSFER_UNKNOWN && end > transfer->size) {
        transfer->size = MSSH_TRANSFER_UNKNOWN;
        transfer->grown = true;
    }
    if (!transfer->options.sends && len < asked) {
        block->got = end;
        if (end != transfer->size)
            return asked - len;
        mssh_transfer_block_ended(transfer, number, end);
        return 0;
    }
    block->done = true;
    advance(transfer);
    return 0;
}

void mssh_transfer_block_ended(mssh_transfer *transfer, uint64_t number, uint64_t offset)
{
    mssh_block *block = block_of(transfer, number);

    if (offset < transfer->status.end)
        transfer->status.end = offset;
    block->end = offset > block->offset ? offset : block->offset;
    block->done = true;
    advance(transfer);
}

void mssh_transfer_refused(mssh_transfer *transfer, uint64_t offset, uint32_t code, mssh_slice text)
{
    mssh_transfer_status *status = &transfer->status;

    if (status->state != MSSH_TRANSFER_MOVING)
        return;
    status->text_len = text.len < sizeof status->text ? text.len : sizeof status->text;
    if (status->text_len > 0)
        memcpy(status->text, text.data, status->text_len);
    mssh_transfer_end(transfer, MSSH_TRANSFER_BY_STATUS, (int)code, offset);
}
