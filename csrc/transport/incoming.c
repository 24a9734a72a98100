#include "transport/state.h"

#include "transport/extinfo.h"
#include "wire/messages.h"
#include "wire/reader.h"
#include "wire/writer.h"

static bool reject(mssh_transport *t, uint8_t number, const char *why)
{
    (void)mssh_fail(&t->cause, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR, "message %u (%s) %s",
                    (unsigned)number, mssh_message_name(number), why);
    mssh_transport_fail_with_cause(t);
    return false;
}

/* --- the handlers: true when *event is filled in */

/* byte SSH_MSG_DISCONNECT; uint32 reason; string description; string language tag
 *
 * However badly it is formed, it says that the connection is over. */
static bool on_disconnect(mssh_transport *t, mssh_slice payload, mssh_transport_event *event)
{
    mssh_reader reader = mssh_reader_of(payload);
    char text[256];

    (void)mssh_read_u8(&reader);
    event->type = MSSH_TRANSPORT_DISCONNECT;
    event->reason = mssh_read_u32(&reader);
    event->data = mssh_read_string(&reader);
    event->language = mssh_read_string(&reader);
    (void)mssh_fail(&t->failure, MSSH_ERR_DISCONNECTED, event->reason, "the peer disconnected: %s",
                    mssh_escape(text, sizeof text, event->data.data, event->data.len));
    return true;
}

/* byte SSH_MSG_IGNORE; string data */
static bool on_ignore(mssh_transport *t, mssh_slice payload, mssh_transport_event *event)
{
    mssh_reader reader = mssh_reader_of(payload);

    (void)mssh_read_u8(&reader);
    event->data = mssh_read_string(&reader);
    if (!mssh_reader_done(&reader))
        return reject(t, MSSH_MSG_IGNORE, "is not well formed");
    event->type = MSSH_TRANSPORT_IGNORE;
    return true;
}

/* Whether the peer owes us a message of a later key exchange. */
static bool awaits_exchange(const mssh_transport *t)
{
    if (!t->first_done)
        return false;
    return t->exchange == MSSH_EXCHANGE_EXPECT_KEXINIT || t->exchange == MSSH_EXCHANGE_EXPECT_METHOD;
}

/* byte SSH_MSG_UNIMPLEMENTED; uint32 packet sequence number of rejected message */
static bool on_unimplemented(mssh_transport *t, mssh_slice payload, mssh_transport_event *event)
{
    mssh_reader reader = mssh_reader_of(payload);

    (void)mssh_read_u8(&reader);
    event->sequence = mssh_read_u32(&reader);
    if (!mssh_reader_done(&reader))
        return reject(t, MSSH_MSG_UNIMPLEMENTED, "is not well formed");
    if (awaits_exchange(t) && event->sequence == t->exchange_seq)
        return reject(t, MSSH_MSG_UNIMPLEMENTED, "is the answer to our key exchange: it cannot go on");
    event->type = MSSH_TRANSPORT_UNIMPLEMENTED;
    return true;
}

/* byte SSH_MSG_DEBUG; boolean always_display; string message; string language tag */
static bool on_debug(mssh_transport *t, mssh_slice payload, mssh_transport_event *event)
{
    mssh_reader reader = mssh_reader_of(payload);

    (void)mssh_read_u8(&reader);
    event->always_display = mssh_read_bool(&reader);
    event->data = mssh_read_string(&reader);
    event->language = mssh_read_string(&reader);
    if (!mssh_reader_done(&reader))
        return reject(t, MSSH_MSG_DEBUG, "is not well formed");
    event->type = MSSH_TRANSPORT_DEBUG;
    return true;
}

/* RFC 8308 2.4: right after the first NEWKEYS; from a server also right before USERAUTH_SUCCESS. For the
 * fields see mssh_extinfo_parse. `first` tells that it is the first packet after NEWKEYS. */
static bool on_ext_info(mssh_transport *t, mssh_slice payload, bool first)
{
    mssh_extinfo info = {.has_sig_algs = false};

    if (++t->n_ext_info > MSSH_EXT_INFO_MAX_MESSAGES)
        return reject(t, MSSH_MSG_EXT_INFO, "came too often");
    if (!first) {
        if (t->options.role == MSSH_SERVER)
            return reject(t, MSSH_MSG_EXT_INFO, "is out of place");
        t->success_must_follow = true;
    }
    if (mssh_extinfo_parse(payload, &info, &t->cause) != 0) {
        mssh_transport_fail_with_cause(t);
        return false;
    }
    t->hostbound = t->hostbound || info.hostbound;
    if (info.has_sig_algs) {
        mssh_buf_clear(&t->sig_algs);
        if (mssh_buf_append(&t->sig_algs, info.sig_algs.data, info.sig_algs.len) != 0) {
            (void)mssh_fail(&t->cause, t->sig_algs.error, 0, "EXT_INFO cannot be kept");
            mssh_transport_fail_with_cause(t);
            return false;
        }
        t->sig_algs_known = true;
    }
    return false;
}

/* byte SSH_MSG_UNIMPLEMENTED; uint32 packet sequence number of rejected message */
static bool answer_unimplemented(mssh_transport *t)
{
    uint8_t message[5];

    if (t->attached)
        return false;
    message[0] = MSSH_MSG_UNIMPLEMENTED;
    mssh_store_u32(message + 1, t->in.seq - 1);
    (void)mssh_transport_send_packet(t, mssh_slice_of(message, sizeof message), MSSH_SLICE_EMPTY, false);
    return false;
}

/* --- the gate's view */

static uint8_t phase(const mssh_transport *t)
{
    bool negotiated = t->exchange != MSSH_EXCHANGE_IDLE &&
                      t->exchange != MSSH_EXCHANGE_EXPECT_KEXINIT; /* peer's KEXINIT came */

    if (!t->first_done)
        return t->strict ? MSSH_IN_STRICT_KEX : MSSH_IN_FIRST_KEX;
    if (negotiated)
        return MSSH_IN_REKEY;
    return t->authenticated ? MSSH_IN_OPEN : MSSH_IN_AUTH;
}

static uint8_t expected(const mssh_transport *t)
{
    if (t->attached)
        return 0;
    switch (t->exchange) {
    case MSSH_EXCHANGE_IDLE:
    case MSSH_EXCHANGE_EXPECT_KEXINIT:
        return MSSH_MSG_KEXINIT;
    case MSSH_EXCHANGE_EXPECT_METHOD:
        return t->kex.expected;
    case MSSH_EXCHANGE_EXPECT_NEWKEYS:
        return MSSH_MSG_NEWKEYS;
    case MSSH_EXCHANGE_EXPECT_ANSWER:
        break;
    }
    return 0;
}

mssh_gate mssh_transport_gate(const mssh_transport *t)
{
    return (mssh_gate){t->options.role, phase(t), expected(t), t->skips_wrong_guess};
}

/* Between a late EXT_INFO and USERAUTH_SUCCESS nothing may come; IGNORE, DEBUG and UNIMPLEMENTED, which some
 * servers send before every message, are passed over, a DISCONNECT ends it anyway. */
static bool breaks_ext_info(mssh_transport *t, uint8_t number)
{
    if (!t->success_must_follow || number <= MSSH_MSG_DEBUG)
        return false;
    t->success_must_follow = false;
    return number != MSSH_MSG_USERAUTH_SUCCESS;
}

static bool handle(mssh_transport *t, mssh_slice payload, bool first, mssh_transport_event *event)
{
    switch (payload.data[0]) {
    case MSSH_MSG_DISCONNECT:
        return on_disconnect(t, payload, event);
    case MSSH_MSG_IGNORE:
        return on_ignore(t, payload, event);
    case MSSH_MSG_UNIMPLEMENTED:
        return on_unimplemented(t, payload, event);
    case MSSH_MSG_DEBUG:
        return on_debug(t, payload, event);
    case MSSH_MSG_EXT_INFO:
        return on_ext_info(t, payload, first);
    case MSSH_MSG_KEXINIT:
        return mssh_exchange_on_kexinit(t, payload);
    case MSSH_MSG_NEWKEYS:
        return mssh_exchange_on_newkeys(t, payload, event);
    case MSSH_MSG_KEX_30:
    case MSSH_MSG_KEX_31:
    case MSSH_MSG_KEX_32:
    case MSSH_MSG_KEX_33:
    case MSSH_MSG_KEX_34:
        return mssh_exchange_on_method(t, payload, event);
    default:
        event->type = MSSH_TRANSPORT_PAYLOAD;
        event->data = payload;
        return true;
    }
}

bool mssh_transport_dispatch(mssh_transport *t, mssh_slice payload, mssh_transport_event *event)
{
    uint8_t number = payload.data[0];
    mssh_gate gate = mssh_transport_gate(t);
    bool first = t->after_newkeys;

    t->after_newkeys = false;
    t->packets_received++;
    if (t->tracing)
        mssh_transport_note(t, false, payload, payload.len);
    switch (mssh_gate_judge(&gate, number)) {
    case MSSH_REJECT:
        return reject(t, number, "is out of place");
    case MSSH_ANSWER_UNIMPLEMENTED:
        if (breaks_ext_info(t, number))
            return reject(t, number, "came between EXT_INFO and USERAUTH_SUCCESS");
        return answer_unimplemented(t);
    case MSSH_DROP_GUESS:
        t->skips_wrong_guess = false;
        return false;
    case MSSH_LET_IN:
        break;
    }
    if (breaks_ext_info(t, number))
        return reject(t, number, "came between EXT_INFO and USERAUTH_SUCCESS");
    return handle(t, payload, first, event);
}
