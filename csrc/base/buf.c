#include "base/buf.h"

#include "base/error.h"

enum { SMALLEST_BLOCK = 256 };

void mssh_buf_init(mssh_buf *buf, mssh_mem *mem, size_t max)
{
    memset(buf, 0, sizeof *buf);
    buf->mem = mem;
    buf->max = max;
}

void mssh_buf_free(mssh_buf *buf)
{
    if (buf->data != NULL)
        mssh_free_used(buf->mem, buf->data, buf->cap, buf->high);
    mssh_buf_init(buf, buf->mem, buf->max);
}

/* Doubling keeps appends linear; the maximum, not a power of two, is the last step. */
static int grow(mssh_buf *buf, size_t need)
{
    size_t held = mssh_buf_len(buf);
    size_t cap = buf->cap > SMALLEST_BLOCK ? buf->cap : SMALLEST_BLOCK;
    uint8_t *block;

    while (cap < need)
        cap = cap > buf->max / 2 ? buf->max : cap * 2;
    block = mssh_resize(buf->mem, NULL, 0, cap, 0);
    if (block == NULL)
        return MSSH_ERR_MEMORY;
    if (buf->data != NULL) {
        memcpy(block, buf->data + buf->start, held);
        mssh_free_used(buf->mem, buf->data, buf->cap, buf->high);
    }
    buf->data = block;
    buf->cap = cap;
    buf->start = 0;
    buf->end = held;
    buf->high = held;
    return 0;
}

uint8_t *mssh_buf_reserve(mssh_buf *buf, size_t len)
{
    size_t held = mssh_buf_len(buf);

    if (buf->error != 0)
        return NULL;
    if (len > buf->max - held) {
        buf->error = MSSH_ERR_LIMIT;
        return NULL;
    }
    if (buf->cap - buf->end < len || buf->data == NULL) {
        if (buf->data != NULL && buf->cap - held >= len && held <= buf->cap / 2) {
            memmove(buf->data, buf->data + buf->start, held);
            buf->start = 0;
            buf->end = held;
        } else {
            buf->error = grow(buf, held + len);
            if (buf->error != 0)
                return NULL;
        }
    }
    return buf->data + buf->end;
}

void mssh_buf_commit(mssh_buf *buf, size_t len)
{
    buf->end += len;
    if (buf->end > buf->high)
        buf->high = buf->end;
}

int mssh_buf_append(mssh_buf *buf, const void *bytes, size_t len)
{
    uint8_t *room = mssh_buf_reserve(buf, len);
    if (room == NULL)
        return buf->error;
    if (len > 0)
        memcpy(room, bytes, len);
    mssh_buf_commit(buf, len);
    return 0;
}

void mssh_buf_consume(mssh_buf *buf, size_t len)
{
    size_t held = mssh_buf_len(buf);
    buf->start += len < held ? len : held;
    if (buf->start == buf->end)
        buf->start = buf->end = 0;
}

void mssh_buf_truncate(mssh_buf *buf, size_t len)
{
    if (len < mssh_buf_len(buf)) {
        mssh_wipe(buf->data + buf->start + len, mssh_buf_len(buf) - len);
        buf->end = buf->start + len;
    }
}

void mssh_buf_clear(mssh_buf *buf)
{
    if (buf->data != NULL)
        mssh_wipe(buf->data, buf->high);
    buf->start = buf->end = buf->high = 0;
    buf->error = 0;
}
