#include "transport/compress.h"

#include "base/error.h"

#include <stdalign.h>
#include <zlib.h>

struct mssh_deflate {
    mssh_mem *mem;
    z_stream stream;
};

struct mssh_inflate {
    mssh_mem *mem;
    z_stream stream;
};

/* zlib frees without telling the size: it stands before each block. */
#define SIZE_FIELD (alignof(max_align_t) > sizeof(size_t) ? alignof(max_align_t) : sizeof(size_t))

enum { CHUNK = 8192 };

static voidpf z_alloc(voidpf mem, uInt n_items, uInt item_size)
{
    size_t size = (size_t)n_items * item_size + SIZE_FIELD;
    uint8_t *block = mssh_alloc(mem, size);

    if (block == NULL)
        return Z_NULL;
    memcpy(block, &size, sizeof size);
    return block + SIZE_FIELD;
}

static void z_free(voidpf mem, voidpf address)
{
    uint8_t *block = (uint8_t *)address - SIZE_FIELD;
    size_t size;

    memcpy(&size, block, sizeof size);
    mssh_free(mem, block, size);
}

mssh_deflate *mssh_deflate_new(mssh_mem *mem)
{
    mssh_deflate *deflate = mssh_alloc(mem, sizeof *deflate);
    if (deflate == NULL)
        return NULL;
    deflate->mem = mem;
    deflate->stream.zalloc = z_alloc;
    deflate->stream.zfree = z_free;
    deflate->stream.opaque = mem;
    if (deflateInit(&deflate->stream, Z_DEFAULT_COMPRESSION) != Z_OK) {
        mssh_free(mem, deflate, sizeof *deflate);
        return NULL;
    }
    return deflate;
}

void mssh_deflate_free(mssh_deflate *deflate)
{
    if (deflate == NULL)
        return;
    (void)deflateEnd(&deflate->stream);
    mssh_free(deflate->mem, deflate, sizeof *deflate);
}

static int deflate_part(z_stream *stream, mssh_slice part, int flush, mssh_buf *out)
{
    /* zlib's interface lacks a const; it does not write there. */
    stream->next_in = (Bytef *)(uintptr_t)part.data;
    stream->avail_in = (uInt)part.len;
    do {
        uint8_t *room = mssh_buf_reserve(out, CHUNK);
        int r;

        if (room == NULL)
            return out->error;
        stream->next_out = room;
        stream->avail_out = CHUNK;
        r = deflate(stream, flush);
        if (r != Z_OK && r != Z_BUF_ERROR)
            return MSSH_ERR_UNSUPPORTED;
        mssh_buf_commit(out, CHUNK - stream->avail_out);
    } while (stream->avail_out == 0);
    return 0;
}

int mssh_deflate_packet(mssh_deflate *deflate, mssh_slice head, mssh_slice body, mssh_buf *out)
{
    int r = 0;

    if (head.len > UINT32_MAX || body.len > UINT32_MAX)
        return MSSH_ERR_LIMIT;
    if (body.len > 0 && head.len > 0)
        r = deflate_part(&deflate->stream, head, Z_NO_FLUSH, out);
    if (r != 0)
        return r;
    return deflate_part(&deflate->stream, body.len > 0 ? body : head, Z_PARTIAL_FLUSH, out);
}

mssh_inflate *mssh_inflate_new(mssh_mem *mem)
{
    mssh_inflate *inflate = mssh_alloc(mem, sizeof *inflate);
    if (inflate == NULL)
        return NULL;
    inflate->mem = mem;
    inflate->stream.zalloc = z_alloc;
    inflate->stream.zfree = z_free;
    inflate->stream.opaque = mem;
    if (inflateInit(&inflate->stream) != Z_OK) {
        mssh_free(mem, inflate, sizeof *inflate);
        return NULL;
    }
    return inflate;
}

void mssh_inflate_free(mssh_inflate *inflate)
{
    if (inflate == NULL)
        return;
    (void)inflateEnd(&inflate->stream);
    mssh_free(inflate->mem, inflate, sizeof *inflate);
}

/* Inflates into the next chunk of *out. 1: there may be more; 0: the packet is used up. The chunk may reach
 * one byte past the limit, which is how too much is noticed. */
static int inflate_chunk(z_stream *stream, size_t before, mssh_buf *out)
{
    size_t held = mssh_buf_len(out) - before;
    size_t chunk = MSSH_INFLATE_MAX + 1 - held < CHUNK ? MSSH_INFLATE_MAX + 1 - held : CHUNK;
    uint8_t *room = mssh_buf_reserve(out, chunk);
    int r;

    if (room == NULL)
        return out->error;
    stream->next_out = room;
    stream->avail_out = (uInt)chunk;
    r = inflate(stream, Z_SYNC_FLUSH);
    mssh_buf_commit(out, chunk - stream->avail_out);
    if (mssh_buf_len(out) - before > MSSH_INFLATE_MAX)
        return MSSH_ERR_LIMIT;
    if (r == Z_MEM_ERROR)
        return MSSH_ERR_MEMORY;
    if (r == Z_OK)
        return stream->avail_out == 0 || stream->avail_in > 0 ? 1 : 0;
    if (r == Z_BUF_ERROR && stream->avail_in == 0)
        return 0;
    return MSSH_ERR_PROTOCOL; /* damaged, at its end, or asking for a dictionary */
}

int mssh_inflate_packet(mssh_inflate *inflate, mssh_slice packet, mssh_buf *out)
{
    size_t before = mssh_buf_len(out);
    int r;

    if (packet.len > UINT32_MAX)
        return MSSH_ERR_LIMIT;
    inflate->stream.next_in = (Bytef *)(uintptr_t)packet.data;
    inflate->stream.avail_in = (uInt)packet.len;
    do
        r = inflate_chunk(&inflate->stream, before, out);
    while (r > 0);
    if (r == 0 && mssh_buf_len(out) == before)
        r = MSSH_ERR_PROTOCOL;
    return r;
}
