#include "transport/packet_in.h"

#include "wire/messages.h"

enum {
    READ_LEAST = 8 * 1024,
    READ_MOST = 256 * 1024,
    SMALL_READS = 16,    /* in a row, before the buffer shrinks */
    SHORTEST_LENGTH = 6, /* padding_length, one byte of payload, four of padding */
    SHORTEST_PADDING = 4,
    SHORTEST_UNPADDED = 2,
};

void mssh_packet_in_init(mssh_packet_in *in, mssh_mem *mem, size_t max_packet)
{
    memset(in, 0, sizeof *in);
    mssh_buf_init(&in->bytes, mem, 2 * (size_t)READ_MOST + 2 * max_packet);
    mssh_buf_init(&in->plain, mem, 2 * MSSH_INFLATE_MAX);
    mssh_buf_init(&in->original, mem, max_packet + 4 + MSSH_HASH_MAX);
    in->max_packet = max_packet;
    in->read_size = READ_LEAST;
}

void mssh_packet_in_free(mssh_packet_in *in)
{
    mssh_buf_free(&in->bytes);
    mssh_buf_free(&in->plain);
    mssh_buf_free(&in->original);
    mssh_seal_free(in->seal);
    mssh_inflate_free(in->inflate);
    in->seal = NULL;
    in->inflate = NULL;
    in->taken = 0;
    in->length = 0;
}

void mssh_packet_in_trim(mssh_packet_in *in)
{
    if (in->taken > 0 || mssh_buf_len(&in->bytes) > 0)
        return;
    mssh_buf_free(&in->bytes);
    mssh_buf_free(&in->plain);
    if (mssh_buf_len(&in->original) == 0)
        mssh_buf_free(&in->original);
    in->read_size = READ_LEAST;
    in->n_small = 0;
}

/* Bytes of the packet begun that are still to come; 0 while that is not known. */
static size_t missing(const mssh_packet_in *in)
{
    size_t whole = in->length == 0 ? 0 : 4 + (size_t)in->length + in->seal->tag_len;
    size_t held = mssh_buf_len(&in->bytes);
    return whole > held ? whole - held : 0;
}

uint8_t *mssh_packet_in_room(mssh_packet_in *in, size_t *room)
{
    mssh_buf *bytes = &in->bytes;
    size_t least = in->read_size;
    uint8_t *place;

    if (in->taken > 0) { /* a payload is being looked at: nothing may move */
        *room = in->room = bytes->cap - bytes->end;
        return bytes->data + bytes->end;
    }
    if (missing(in) == 0 && mssh_buf_len(bytes) >= READ_LEAST) { /* it is to be taken first */
        *room = in->room = 0;
        return bytes->data;
    }
    if (mssh_buf_len(bytes) > 0) {
        least /= 2;
    } else if (bytes->cap > in->read_size) {
        mssh_buf_free(bytes);
    }
    if (least < missing(in))
        least = missing(in);
    place = mssh_buf_reserve(bytes, least);
    if (place == NULL)
        return NULL;
    *room = in->room = bytes->cap - bytes->end;
    return place;
}

void mssh_packet_in_done(mssh_packet_in *in, size_t len)
{
    if (len > in->room) /* a mistake of the caller: do not make it worse */
        len = in->room;
    mssh_buf_commit(&in->bytes, len);
    if (len == in->room) {
        in->n_small = 0;
        if (in->read_size < READ_MOST)
            in->read_size *= 2;
    } else if (len > in->read_size / 4) {
        in->n_small = 0;
    } else if (++in->n_small >= SMALL_READS) {
        in->n_small = 0;
        if (in->read_size > READ_LEAST)
            in->read_size /= 2;
    }
    in->room = 0;
}

void mssh_packet_in_release(mssh_packet_in *in)
{
    if (in->taken == 0)
        return;
    mssh_buf_consume(&in->bytes, in->taken);
    mssh_buf_consume(&in->plain, mssh_buf_len(&in->plain));
    in->taken = 0;
}

static int reject(mssh_failure *failure, const char *why, uint32_t value)
{
    return mssh_fail(failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR, "packet: %s (%u)", why,
                     (unsigned)value);
}

static int wrong_mac(mssh_failure *failure)
{
    return mssh_fail(failure, MSSH_ERR_MAC, MSSH_DISCONNECT_MAC_ERROR,
                     "the message authentication code of a packet does not match");
}

/* Takes what is there of the bytes that are still wasted on a packet that is refused. */
static int waste(mssh_packet_in *in, mssh_failure *failure)
{
    size_t held = mssh_buf_len(&in->bytes);
    size_t len = held < in->to_waste ? held : in->to_waste;

    mssh_buf_consume(&in->bytes, len);
    in->to_waste -= len;
    return in->to_waste == 0 ? wrong_mac(failure) : MSSH_PACKET_NONE;
}

/* Refuses a packet, after a MAC over `covered` bytes of it was computed. Under CBC an attacker who puts
 * blocks of another packet in place of its length could learn of their plain text by when it is refused, and
 * how (CVE-2008-5161): so length, padding and MAC fail in the same words, after as many bytes as the largest
 * packet has, and as much work. */
static int refuse(mssh_packet_in *in, size_t covered, mssh_failure *failure)
{
    size_t most = 4 + in->max_packet;

    if (!in->seal->conceals)
        return wrong_mac(failure);
    in->seal->ops->spend(in->seal, covered < most ? most - covered : 0);
    in->refusing = true;
    in->length = 0;
    in->to_waste = most + in->seal->tag_len;
    return waste(in, failure);
}

/* Reads packet_length of the packet that begins. A length that is decrypted before the MAC is checked must
 * not tell an attacker more than the MAC would: it fails in the same words. */
static int begin_packet(mssh_packet_in *in, mssh_failure *failure)
{
    const mssh_seal *seal = in->seal;
    uint32_t length;
    uint32_t shortest = seal->unpadded ? SHORTEST_UNPADDED : SHORTEST_LENGTH;
    size_t padded;
    int r = seal->ops->peek(in->seal, in->seq, mssh_buf_bytes(&in->bytes), &length);

    if (r != 0)
        return mssh_fail(failure, r, 0, "the cipher failed to read a packet");
    padded = seal->length_apart ? length : (size_t)length + 4;
    if (length < shortest || length > in->max_packet || padded % seal->block_len != 0)
        return seal->decrypts_first ? refuse(in, 0, failure) : reject(failure, "impossible length", length);
    in->length = length;
    return 0;
}

/* Where the payload is, once the packet is plain text. False when the padding is out of range. */
static bool find_payload(const mssh_packet_in *in, mssh_slice *payload)
{
    const uint8_t *packet = in->bytes.data + in->bytes.start;
    size_t padding = packet[4];

    if (in->seal->unpadded ? padding != 0 : padding < SHORTEST_PADDING)
        return false;
    if (padding + 1 >= in->length)
        return false;
    *payload = mssh_slice_of(packet + 5, in->length - 1 - padding);
    return true;
}

static int inflate_payload(mssh_packet_in *in, mssh_slice *payload, mssh_failure *failure)
{
    int r = mssh_inflate_packet(in->inflate, *payload, &in->plain);

    if (r == MSSH_ERR_LIMIT)
        return mssh_fail(failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_COMPRESSION_ERROR,
                         "a packet inflates to more than %u bytes", (unsigned)MSSH_INFLATE_MAX);
    if (r == MSSH_ERR_PROTOCOL)
        return mssh_fail(failure, r, MSSH_DISCONNECT_COMPRESSION_ERROR, "a packet cannot be decompressed");
    if (r != 0)
        return mssh_fail(failure, r, 0, "out of memory for decompression");
    *payload = mssh_buf_slice(&in->plain);
    return 0;
}

/* The packet is plain text now: hands its payload out. */
static int deliver(mssh_packet_in *in, mssh_slice *payload, mssh_failure *failure)
{
    size_t whole = 4 + (size_t)in->length + in->seal->tag_len;

    if (!find_payload(in, payload) && in->seal->conceals)
        return refuse(in, 4 + (size_t)in->length, failure);
    if (!find_payload(in, payload))
        return reject(failure, "impossible padding", in->bytes.data[in->bytes.start + 4]);
    if (in->inflate != NULL) {
        int r = inflate_payload(in, payload, failure);
        if (r != 0)
            return r;
    }
    in->taken = whole;
    in->length = 0;
    in->opened = false;
    in->packets++;
    in->octets += whole;
    if (++in->seq == 0)
        in->wrapped = true;
    return MSSH_PACKET_READY;
}

/* What there is to see of a packet whose MAC is wrong. */
static int question(mssh_packet_in *in, mssh_slice *payload, mssh_failure *failure)
{
    uint8_t *packet = mssh_buf_bytes(&in->bytes);

    if (in->seal->decrypts_first)
        return find_payload(in, payload) ? MSSH_PACKET_QUESTION : refuse(in, 4 + (size_t)in->length, failure);
    if (in->seal->spoils)
        memcpy(packet, in->original.data, mssh_buf_len(&in->original));
    *payload = mssh_slice_of(packet, 4 + (size_t)in->length);
    return MSSH_PACKET_QUESTION;
}

int mssh_packet_in_next(mssh_packet_in *in, mssh_slice *payload, mssh_failure *failure)
{
    size_t held;
    int r = 0;

    mssh_packet_in_release(in);
    if (in->refusing)
        return waste(in, failure);
    held = mssh_buf_len(&in->bytes);
    if (in->length == 0) {
        if (held < in->seal->head_len)
            return MSSH_PACKET_NONE;
        r = begin_packet(in, failure);
        if (r != 0 || in->refusing)
            return r;
    }
    if (held < 4 + (size_t)in->length + in->seal->tag_len)
        return MSSH_PACKET_NONE;
    if (in->opened)
        return deliver(in, payload, failure);
    if (in->ask_mac && in->seal->spoils) {
        mssh_buf_consume(&in->original, mssh_buf_len(&in->original));
        if (mssh_buf_append(&in->original, mssh_buf_bytes(&in->bytes), 4 + (size_t)in->length) != 0)
            return mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory for a packet");
    }
    r = in->seal->ops->open(in->seal, in->seq, mssh_buf_bytes(&in->bytes), in->length);
    if (r == 0)
        return deliver(in, payload, failure);
    if (r != MSSH_ERR_MAC)
        return mssh_fail(failure, r, 0, "the cipher failed to open a packet");
    return in->ask_mac ? question(in, payload, failure) : refuse(in, 4 + (size_t)in->length, failure);
}

int mssh_packet_in_refuse(mssh_packet_in *in, mssh_failure *failure)
{
    return refuse(in, 4 + (size_t)in->length, failure);
}

int mssh_packet_in_accept(mssh_packet_in *in, mssh_failure *failure)
{
    int r = in->seal->ops->open_unverified(in->seal, in->seq, mssh_buf_bytes(&in->bytes), in->length);
    if (r != 0)
        return mssh_fail(failure, r, 0, "the cipher failed to open a packet");
    in->opened = true;
    return 0;
}

void mssh_packet_in_rekey(mssh_packet_in *in, mssh_seal *seal, mssh_inflate *inflate, bool reset_seq)
{
    mssh_seal_free(in->seal);
    mssh_inflate_free(in->inflate);
    in->seal = seal;
    in->inflate = inflate;
    in->packets = 0;
    in->octets = 0;
    if (reset_seq) {
        in->seq = 0;
        in->wrapped = false;
    }
}
