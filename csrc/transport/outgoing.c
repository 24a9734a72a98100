#include "transport/state.h"

#include "wire/messages.h"
#include "wire/reader.h"
#include "wire/writer.h"

/* Kinds of records held back. */
enum { HELD_PLAIN, HELD_CONCEALED, HELD_AUTHENTICATED };

enum { FIRST_HELD_NUMBER = 5, DISCONNECT_TEXT_MAX = 1024 };

int mssh_transport_send_packet(mssh_transport *t, mssh_slice head, mssh_slice body, bool conceal)
{
    int r;

    if (t->failure.code != 0)
        return t->failure.code;
    r = mssh_packet_out_send(&t->out, head, body, conceal);
    if (r != 0) {
        (void)mssh_fail(&t->cause, r, 0,
                        r == MSSH_ERR_LIMIT ? "the send queue is full" : "a packet cannot be made");
    } else if ((t->out.packets >= MSSH_KEYS_MOST_PACKETS && !t->attached) ||
               (t->out.wrapped && !t->first_done)) {
        r = mssh_fail(&t->cause, MSSH_ERR_LIMIT, 0, "too many packets were sent without a new key exchange");
    }
    if (r != 0) {
        mssh_transport_fail_with_cause(t);
        return r;
    }
    t->packets_sent++;
    if (t->tracing)
        mssh_transport_note(t, true, head.len > 0 ? head : body, head.len + body.len);
    return 0;
}

/* byte SSH_MSG_DISCONNECT; uint32 reason; string description; string language tag */
void mssh_transport_send_disconnect(mssh_transport *t, uint32_t reason, mssh_slice text)
{
    uint8_t head[9];
    uint8_t body[DISCONNECT_TEXT_MAX + 4] = {0};

    if (!t->started || t->attached || t->failure.code != 0)
        return;
    if (text.len > DISCONNECT_TEXT_MAX)
        text.len = DISCONNECT_TEXT_MAX;
    head[0] = MSSH_MSG_DISCONNECT;
    mssh_store_u32(head + 1, reason);
    mssh_store_u32(head + 5, (uint32_t)text.len);
    if (text.len > 0)
        memcpy(body, text.data, text.len); /* the empty language tag is the zeros behind it */
    if (mssh_packet_out_send(&t->out, mssh_slice_of(head, sizeof head), mssh_slice_of(body, text.len + 4),
                             false) != 0)
        return;
    t->packets_sent++;
    if (t->tracing)
        mssh_transport_note(t, true, mssh_slice_of(head, 1), sizeof head + text.len + 4);
}

/* RFC 4253 7.1: between our KEXINIT and our NEWKEYS nothing goes out but the exchange and messages 1 to 4. In
 * the first exchange the peer's NEWKEYS is awaited as well. */
bool mssh_transport_holds(const mssh_transport *t)
{
    if (!t->first_done)
        return true;
    return t->exchange != MSSH_EXCHANGE_IDLE && t->exchange != MSSH_EXCHANGE_EXPECT_NEWKEYS;
}

static int hold(mssh_transport *t, mssh_slice head, mssh_slice body, uint8_t kind)
{
    size_t len = head.len + body.len;

    if (len > MSSH_HELD_MAX)
        t->held.error = MSSH_ERR_LIMIT;
    mssh_write_u32(&t->held, (uint32_t)len);
    mssh_write_u8(&t->held, kind);
    mssh_write_bytes(&t->held, head);
    mssh_write_bytes(&t->held, body);
    if (t->held.error == 0)
        return 0;
    (void)mssh_fail(&t->cause, t->held.error, 0,
                    t->held.error == MSSH_ERR_LIMIT ? "too much was to be sent during a key exchange"
                                                    : "out of memory for what is sent after a key exchange");
    mssh_transport_fail_with_cause(t);
    return t->failure.code;
}

static int send_payload(mssh_transport *t, mssh_slice head, mssh_slice body, uint8_t kind)
{
    uint8_t number;
    int r;

    if (t->failure.code != 0)
        return t->failure.code;
    if (!t->started || head.len + body.len == 0)
        return MSSH_ERR_STATE;
    number = head.len > 0 ? head.data[0] : body.data[0];
    if (mssh_transport_holds(t) && (number >= FIRST_HELD_NUMBER || !t->first_done))
        return hold(t, head, body, kind);
    r = mssh_transport_send_packet(t, head, body, kind == HELD_CONCEALED);
    if (r == 0)
        mssh_exchange_start_if_due(t);
    return r;
}

int mssh_transport_send(mssh_transport *t, mssh_slice head, mssh_slice body)
{
    return send_payload(t, head, body, HELD_PLAIN);
}

int mssh_transport_send_concealed(mssh_transport *t, mssh_slice payload)
{
    return send_payload(t, payload, MSSH_SLICE_EMPTY, HELD_CONCEALED);
}

/* The peer's NEWKEYS, if it is still to come, was sent before the peer knew: its stream starts behind it. */
static int start_delayed_compression(mssh_transport *t)
{
    int r = 0;

    t->compression_due = true;
    if (t->out.deflate == NULL)
        r = mssh_transport_deflate_for(t, t->out_compression, &t->out.deflate);
    if (r == 0 && t->in.inflate == NULL && t->exchange != MSSH_EXCHANGE_EXPECT_NEWKEYS)
        r = mssh_transport_inflate_for(t, t->in_compression, &t->in.inflate);
    return r;
}

/* A server's USERAUTH_SUCCESS may be among what is held back: then the mark keeps its place behind it. */
int mssh_transport_compress_after_auth(mssh_transport *t)
{
    if (t->options.role == MSSH_SERVER && mssh_buf_len(&t->held) > 0)
        return hold(t, MSSH_SLICE_EMPTY, MSSH_SLICE_EMPTY, HELD_AUTHENTICATED);
    return start_delayed_compression(t);
}

void mssh_transport_send_held(mssh_transport *t)
{
    mssh_reader reader = mssh_reader_of(mssh_buf_slice(&t->held));
    int r = 0;

    while (r == 0 && mssh_reader_left(&reader) > 0) {
        uint32_t len = mssh_read_u32(&reader);
        uint8_t kind = mssh_read_u8(&reader);
        mssh_slice payload = mssh_read_bytes(&reader, len);

        if (kind != HELD_AUTHENTICATED) {
            r = mssh_transport_send_packet(t, payload, MSSH_SLICE_EMPTY, kind == HELD_CONCEALED);
        } else if ((r = start_delayed_compression(t)) != 0) {
            (void)mssh_fail(&t->cause, r, 0, "out of memory for compression");
            mssh_transport_fail_with_cause(t);
        }
    }
    mssh_buf_free(&t->held);
}

int mssh_transport_deflate_for(mssh_transport *t, mssh_compression_start start, mssh_deflate **stream)
{
    bool now = start == MSSH_COMPRESS_AT_ONCE || (start == MSSH_COMPRESS_AFTER_AUTH && t->compression_due);
    mssh_deflate *made = NULL;

    if (now) {
        made = mssh_deflate_new(t->mem);
        if (made == NULL)
            return MSSH_ERR_MEMORY;
    }
    *stream = made;
    return 0;
}

int mssh_transport_inflate_for(mssh_transport *t, mssh_compression_start start, mssh_inflate **stream)
{
    bool now = start == MSSH_COMPRESS_AT_ONCE || (start == MSSH_COMPRESS_AFTER_AUTH && t->compression_due);
    mssh_inflate *made = NULL;

    if (now) {
        made = mssh_inflate_new(t->mem);
        if (made == NULL)
            return MSSH_ERR_MEMORY;
    }
    *stream = made;
    return 0;
}
