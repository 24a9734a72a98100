#include "transport/packet_out.h"

#include "base/error.h"
#include "crypto/rand.h"
#include "wire/writer.h"

enum {
    SHORTEST_PADDING = 4,
    CONCEAL_MULTIPLE = 240, /* a multiple of every block length for which the padding stays below 256 */
    KEPT_EMPTY = 16 * 1024, /* storage that an idle connection may keep */
    SMALL_USES = 8,
};

void mssh_packet_out_init(mssh_packet_out *out, mssh_mem *mem, size_t max)
{
    memset(out, 0, sizeof *out);
    mssh_buf_init(&out->bytes, mem, max);
    mssh_buf_init(&out->deflated, mem, max);
}

void mssh_packet_out_free(mssh_packet_out *out)
{
    mssh_buf_free(&out->bytes);
    mssh_buf_free(&out->deflated);
    mssh_seal_free(out->seal);
    mssh_deflate_free(out->deflate);
    out->seal = NULL;
    out->deflate = NULL;
    mssh_wipe(out->padding, sizeof out->padding);
    out->padding_left = 0;
}

/* Random padding, a pool at a time: asking the generator for each packet would cost more than the packet. */
static int write_padding(mssh_packet_out *out, uint8_t *at, size_t len)
{
    if (out->padding_left < len) {
        int r = mssh_rand_bytes(out->padding, sizeof out->padding);
        if (r != 0)
            return r;
        out->padding_left = sizeof out->padding;
    }
    memcpy(at, out->padding + sizeof out->padding - out->padding_left, len);
    out->padding_left -= len;
    return 0;
}

static void put(uint8_t *at, mssh_slice bytes)
{
    if (bytes.len > 0 && bytes.data != NULL)
        memcpy(at, bytes.data, bytes.len);
}

static int append_packet(mssh_packet_out *out, mssh_slice head, mssh_slice body, size_t multiple)
{
    const mssh_seal *seal = out->seal;
    size_t inner = 1 + head.len + body.len;
    size_t padding = multiple - (inner + (seal->length_apart ? 0 : 4)) % multiple;
    size_t length;
    uint8_t *packet;
    int r;

    if (seal->unpadded)
        padding = 0;
    else if (padding < SHORTEST_PADDING)
        padding += multiple;
    length = inner + padding;
    packet = mssh_buf_reserve(&out->bytes, 4 + length + seal->tag_len);
    if (packet == NULL) {
        r = out->bytes.error;
        out->bytes.error = 0; /* a DISCONNECT may still fit */
        return r;
    }
    mssh_store_u32(packet, (uint32_t)length);
    packet[4] = (uint8_t)padding;
    put(packet + 5, head);
    put(packet + 5 + head.len, body);
    r = write_padding(out, packet + 4 + inner, padding);
    if (r == 0)
        r = seal->ops->seal(out->seal, out->seq, packet, length);
    if (r != 0) {
        mssh_wipe(packet, 4 + length + seal->tag_len);
        return r;
    }
    mssh_buf_commit(&out->bytes, 4 + length + seal->tag_len);
    out->octets += 4 + length + seal->tag_len;
    return 0;
}

int mssh_packet_out_send(mssh_packet_out *out, mssh_slice head, mssh_slice body, bool conceal)
{
    size_t multiple = conceal ? CONCEAL_MULTIPLE : out->seal->block_len;
    int r;

    if (out->deflate != NULL) {
        r = mssh_deflate_packet(out->deflate, head, body, &out->deflated);
        if (r == 0)
            r = append_packet(out, mssh_buf_slice(&out->deflated), MSSH_SLICE_EMPTY, multiple);
        mssh_buf_clear(&out->deflated);
    } else {
        r = append_packet(out, head, body, multiple);
    }
    if (r != 0)
        return r;
    out->packets++;
    if (++out->seq == 0)
        out->wrapped = true;
    if (mssh_buf_len(&out->bytes) > out->most)
        out->most = mssh_buf_len(&out->bytes);
    return 0;
}

void mssh_packet_out_done(mssh_packet_out *out, size_t len)
{
    mssh_buf_consume(&out->bytes, len);
    if (mssh_buf_len(&out->bytes) > 0)
        return;
    out->n_small = out->most < out->bytes.cap / 8 ? out->n_small + 1 : 0;
    out->most = 0;
    if (out->n_small >= SMALL_USES && out->bytes.cap > KEPT_EMPTY) {
        mssh_buf_free(&out->bytes);
        out->n_small = 0;
    }
}

void mssh_packet_out_trim(mssh_packet_out *out)
{
    if (mssh_buf_len(&out->bytes) > 0)
        return;
    mssh_buf_free(&out->bytes);
    mssh_buf_free(&out->deflated);
    out->most = 0;
    out->n_small = 0;
}

void mssh_packet_out_rekey(mssh_packet_out *out, mssh_seal *seal, mssh_deflate *deflate, bool reset_seq)
{
    mssh_seal_free(out->seal);
    mssh_deflate_free(out->deflate);
    out->seal = seal;
    out->deflate = deflate;
    out->packets = 0;
    out->octets = 0;
    if (reset_seq) {
        out->seq = 0;
        out->wrapped = false;
    }
}
