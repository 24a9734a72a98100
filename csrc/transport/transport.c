#include "transport/state.h"

#include "wire/messages.h"
#include "wire/namelist.h"
#include "wire/writer.h"

enum {
    PACKET_BEFORE_AUTH = 64 * 1024,
    PACKET_DEFAULT = 256 * 1024,
    QUEUE_DEFAULT = 1024 * 1024,
    QUEUE_SPARE = 1024 * 1024, /* replies and what a key exchange held back may go past max_queue */
    LIST_MAX = 16 * 1024,
    TRACE_BYTES = 64 * 1024,
    PEER_LIST_MAX = 64 * 1024,
};

/* --- making and freeing */

static void set_defaults(mssh_transport_options *options)
{
    if (options->software == NULL)
        options->software = "moonssh";
    if (options->rekey_bytes == 0)
        options->rekey_bytes = UINT64_C(1) << 30;
    if (options->rekey_packets == 0)
        options->rekey_packets = UINT64_C(1) << 31;
    if (options->rekey_ms == 0)
        options->rekey_ms = UINT64_C(3600) * 1000;
    if (options->max_packet == 0)
        options->max_packet = PACKET_DEFAULT;
    if (options->max_queue == 0)
        options->max_queue = QUEUE_DEFAULT;
}

static bool has_host_key(const mssh_transport_options *options, mssh_slice algorithm)
{
    const mssh_sig_algorithm *row = mssh_sig_algorithm_find(algorithm);

    for (size_t i = 0; row != NULL && i < options->n_host_keys; i++)
        if (mssh_slice_is(mssh_slice_of_text(mssh_key_type(options->host_keys[i])), row->key_type))
            return true;
    return false;
}

/* Copies a list, checked name by name; of host keys a server offers only the kinds it has. */
static int copy_list(mssh_transport *t, mssh_algorithm_class cls, mssh_slice wanted, mssh_failure *failure)
{
    bool filter = cls == MSSH_ALG_HOST_KEY && t->options.role == MSSH_SERVER;
    mssh_buf *list = &t->lists[cls];
    char shown[80];
    mssh_slice name;

    while (mssh_namelist_next(&wanted, &name)) {
        if (mssh_algorithm_find(cls, name) == NULL)
            return mssh_fail(failure, MSSH_ERR_UNSUPPORTED, 0, "unknown %s algorithm '%s'",
                             mssh_algorithm_class_name(cls),
                             mssh_escape(shown, sizeof shown, name.data, name.len));
        if (filter && !has_host_key(&t->options, name))
            continue;
        if (mssh_buf_len(list) > 0)
            mssh_write_u8(list, ',');
        mssh_write_bytes(list, name);
    }
    if (list->error != 0)
        return mssh_fail(failure, list->error, 0, "the list of %s algorithms cannot be kept",
                         mssh_algorithm_class_name(cls));
    if (mssh_buf_len(list) == 0)
        return mssh_fail(failure, MSSH_ERR_UNSUPPORTED, 0, "there is no %s algorithm to offer",
                         mssh_algorithm_class_name(cls));
    return 0;
}

static int copy_lists(mssh_transport *t, mssh_failure *failure)
{
    mssh_buf defaults;
    int r = 0;

    mssh_buf_init(&defaults, t->mem, LIST_MAX);
    for (int cls = 0; r == 0 && cls < MSSH_N_ALG_CLASSES; cls++) {
        mssh_slice wanted = t->options.algorithms[cls];
        if (wanted.len == 0) {
            mssh_buf_clear(&defaults);
            r = mssh_algorithm_write_defaults((mssh_algorithm_class)cls, &defaults);
            wanted = mssh_buf_slice(&defaults);
        }
        if (r == 0)
            r = copy_list(t, (mssh_algorithm_class)cls, wanted, failure);
        else
            (void)mssh_fail(failure, r, 0, "out of memory");
    }
    mssh_buf_free(&defaults);
    return r;
}

static int copy_host_keys(mssh_transport *t, mssh_failure *failure)
{
    const mssh_transport_options *options = &t->options;

    if (options->role != MSSH_SERVER || options->n_host_keys == 0)
        return 0;
    t->host_keys = mssh_alloc(t->mem, options->n_host_keys * sizeof(mssh_key *));
    if (t->host_keys == NULL)
        return mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory");
    for (; t->n_host_keys < options->n_host_keys; t->n_host_keys++)
        t->host_keys[t->n_host_keys] = mssh_key_ref(options->host_keys[t->n_host_keys]);
    return 0;
}

static void init(mssh_transport *t, mssh_mem *mem, const mssh_transport_options *options)
{
    t->mem = mem;
    t->options = *options;
    set_defaults(&t->options);
    for (int cls = 0; cls < MSSH_N_ALG_CLASSES; cls++)
        mssh_buf_init(&t->lists[cls], mem, LIST_MAX);
    mssh_packet_in_init(
        &t->in, mem, t->options.max_packet > PACKET_BEFORE_AUTH ? t->options.max_packet : PACKET_BEFORE_AUTH);
    t->in.max_packet = PACKET_BEFORE_AUTH;
    mssh_packet_out_init(&t->out, mem, t->options.max_queue + MSSH_HELD_MAX + QUEUE_SPARE);
    mssh_buf_init(&t->held, mem, MSSH_HELD_MAX);
    mssh_kex_init(&t->kex, mem, options->role);
    mssh_buf_init(&t->our_kexinit, mem, PEER_LIST_MAX);
    mssh_buf_init(&t->host_key, mem, PACKET_BEFORE_AUTH);
    mssh_buf_init(&t->sig_algs, mem, PACKET_BEFORE_AUTH);
    mssh_buf_init(&t->host_signature, mem, PACKET_BEFORE_AUTH);
    mssh_buf_init(&t->their_list, mem, PACKET_BEFORE_AUTH);
    mssh_buf_init(&t->trace, mem, TRACE_BYTES);
    t->peer_ident.allow_lines = options->role == MSSH_CLIENT;
}

int mssh_transport_new(mssh_mem *mem, const mssh_transport_options *options, mssh_transport **transport,
                       mssh_failure *failure)
{
    mssh_transport *t = mssh_alloc(mem, sizeof *t);
    int r;

    if (t == NULL)
        return mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory");
    init(t, mem, options);
    r = mssh_ident_write(t->options.software, t->our_ident);
    if (r < 0) {
        (void)mssh_fail(failure, r, 0, "the software version is not printable ASCII without spaces and '-'");
        goto out;
    }
    t->our_ident_len = (size_t)r;
    r = copy_host_keys(t, failure);
    if (r == 0)
        r = copy_lists(t, failure);
    if (r != 0)
        goto out;
    t->in.seal = mssh_seal_clear_new(mem);
    t->out.seal = mssh_seal_clear_new(mem);
    if (t->in.seal == NULL || t->out.seal == NULL)
        r = mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory");
out:
    if (r != 0) {
        mssh_transport_free(t);
        return r;
    }
    *transport = t;
    return 0;
}

/* Frees all that a failed transport has no use for: what is left is the output. */
static void wipe(mssh_transport *t)
{
    t->wiped = true;
    t->question = MSSH_QUESTION_NONE;
    mssh_exchange_free(t);
    mssh_packet_in_free(&t->in);
    mssh_seal_free(t->out.seal);
    mssh_deflate_free(t->out.deflate);
    t->out.seal = NULL;
    t->out.deflate = NULL;
    mssh_buf_free(&t->out.deflated);
    mssh_buf_free(&t->held);
}

void mssh_transport_free(mssh_transport *t)
{
    if (t == NULL)
        return;
    wipe(t);
    mssh_packet_out_free(&t->out);
    for (int cls = 0; cls < MSSH_N_ALG_CLASSES; cls++)
        mssh_buf_free(&t->lists[cls]);
    for (size_t i = 0; i < t->n_host_keys; i++)
        mssh_key_free(t->host_keys[i]);
    mssh_free(t->mem, t->host_keys, t->options.n_host_keys * sizeof(mssh_key *));
    mssh_buf_free(&t->host_key);
    mssh_buf_free(&t->sig_algs);
    mssh_buf_free(&t->host_signature);
    mssh_buf_free(&t->their_list);
    mssh_buf_free(&t->trace);
    mssh_free(t->mem, t, sizeof *t);
}

int mssh_transport_start(mssh_transport *t)
{
    if (t->failure.code != 0)
        return t->failure.code;
    if (t->started)
        return MSSH_ERR_STATE;
    t->started = true;
    (void)mssh_buf_append(&t->out.bytes, t->our_ident, t->our_ident_len);
    if (mssh_buf_append(&t->out.bytes, "\r\n", 2) != 0) {
        (void)mssh_fail(&t->cause, t->out.bytes.error, 0, "out of memory");
        mssh_transport_fail_with_cause(t);
    } else {
        mssh_exchange_start(t);
    }
    return t->failure.code;
}

/* --- failing */

void mssh_transport_fail_with_cause(mssh_transport *t)
{
    if (t->failure.code == 0) {
        if (t->cause.reason != 0)
            mssh_transport_send_disconnect(t, t->cause.reason, mssh_slice_of_text(t->cause.message));
        t->failure = t->cause;
    }
    t->cause.code = 0;
}

void mssh_transport_fail(mssh_transport *t, const mssh_failure *failure)
{
    if (failure->code == 0)
        return;
    t->cause = *failure;
    mssh_transport_fail_with_cause(t);
}

int mssh_transport_disconnect(mssh_transport *t, uint32_t reason, mssh_slice text)
{
    if (t->failure.code != 0)
        return t->failure.code;
    mssh_transport_send_disconnect(t, reason, text);
    (void)mssh_fail(&t->failure, MSSH_ERR_CLOSED, 0, "closed by us");
    return 0;
}

const mssh_failure *mssh_transport_failure(const mssh_transport *t)
{
    return &t->failure;
}

/* --- input and output */

uint8_t *mssh_transport_input(mssh_transport *t, size_t *room)
{
    uint8_t *place;

    *room = 0;
    if (!t->started || t->failure.code != 0 || t->eof || t->question != MSSH_QUESTION_NONE ||
        mssh_buf_len(&t->out.bytes) > t->options.max_queue)
        return NULL;
    place = mssh_packet_in_room(&t->in, room);
    if (place == NULL) {
        (void)mssh_fail(&t->cause, MSSH_ERR_MEMORY, 0, "out of memory for input");
        mssh_transport_fail_with_cause(t);
    }
    return place;
}

void mssh_transport_input_done(mssh_transport *t, size_t len)
{
    if (t->wiped)
        return;
    mssh_packet_in_done(&t->in, len);
    t->bytes_received += len;
}

void mssh_transport_input_eof(mssh_transport *t)
{
    t->eof = true;
}

mssh_slice mssh_transport_output(mssh_transport *t)
{
    return mssh_buf_slice(&t->out.bytes);
}

void mssh_transport_output_done(mssh_transport *t, size_t len)
{
    size_t held = mssh_buf_len(&t->out.bytes);

    len = len < held ? len : held;
    t->bytes_sent += len;
    mssh_packet_out_done(&t->out, len);
}

/* A quarter of the queue is kept for replies, so that bulk data alone never stop the reading: two peers that
 * both write without end would else wait for each other. */
size_t mssh_transport_room(const mssh_transport *t)
{
    size_t most = t->options.max_queue - t->options.max_queue / 4;
    size_t queued = mssh_buf_len(&t->out.bytes);

    if (t->failure.code != 0 || mssh_transport_holds(t))
        return 0;
    return queued < most ? most - queued : 0;
}

/* --- events */

static void fail_at_eof(mssh_transport *t)
{
    (void)mssh_fail(&t->cause, MSSH_ERR_EOF, 0, "the connection was lost while waiting for %s",
                    t->first_done            ? "packets"
                    : t->peer_ident.len == 0 ? "the identification"
                                             : "the key exchange");
    mssh_transport_fail_with_cause(t);
}

/* One step towards an event: false when there is nothing to do, true to go on or when *event is filled in. */
static bool step(mssh_transport *t, mssh_transport_event *event)
{
    mssh_slice payload;
    int r;

    if (t->peer_ident.len == 0 && !t->attached) {
        r = mssh_ident_take(&t->peer_ident, &t->in.bytes, &t->cause);
    } else {
        mssh_exchange_start_if_due(t);
        if (t->failure.code != 0)
            return true;
        r = mssh_packet_in_next(&t->in, &payload, &t->cause);
        if (r == MSSH_PACKET_READY && !mssh_transport_dispatch(t, payload, event))
            memset(event, 0, sizeof *event); /* a handler that failed may have left views in it */
        if (r == MSSH_PACKET_QUESTION) {
            t->question = MSSH_QUESTION_MAC;
            event->type = MSSH_TRANSPORT_MAC_ERROR;
            event->data = payload;
        }
    }
    if (r == 0 && t->eof)
        fail_at_eof(t);
    else if (r < 0)
        mssh_transport_fail_with_cause(t);
    else if ((t->in.wrapped && !t->first_done) || (t->in.packets >= MSSH_KEYS_MOST_PACKETS && !t->attached)) {
        (void)mssh_fail(&t->cause, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR,
                        "too many packets came without a new key exchange");
        mssh_transport_fail_with_cause(t);
    }
    return r != 0 || t->eof;
}

void mssh_transport_next(mssh_transport *t, mssh_transport_event *event)
{
    memset(event, 0, sizeof *event);
    mssh_packet_in_release(&t->in);
    while (event->type == MSSH_TRANSPORT_NONE) {
        if (t->failure.code != 0) {
            if (!t->wiped)
                wipe(t);
            event->type = MSSH_TRANSPORT_FAILED;
            return;
        }
        if (!t->started || t->question != MSSH_QUESTION_NONE || !step(t, event))
            return;
    }
}

int mssh_transport_answer_host_key(mssh_transport *t, bool accept)
{
    if (t->failure.code != 0)
        return t->failure.code;
    if (t->question != MSSH_QUESTION_HOST_KEY)
        return MSSH_ERR_STATE;
    t->question = MSSH_QUESTION_NONE;
    if (accept) {
        mssh_exchange_go_on(t);
    } else {
        (void)mssh_fail(&t->cause, MSSH_ERR_HOST_KEY, MSSH_DISCONNECT_HOST_KEY_NOT_VERIFIABLE,
                        "the host key was not accepted");
        mssh_transport_fail_with_cause(t);
    }
    return accept ? t->failure.code : 0;
}

void mssh_transport_ask_mac(mssh_transport *t, bool ask)
{
    t->in.ask_mac = ask;
}

int mssh_transport_answer_mac(mssh_transport *t, bool accept)
{
    if (t->failure.code != 0)
        return t->failure.code;
    if (t->question != MSSH_QUESTION_MAC)
        return MSSH_ERR_STATE;
    t->question = MSSH_QUESTION_NONE;
    if ((accept ? mssh_packet_in_accept(&t->in, &t->cause) : mssh_packet_in_refuse(&t->in, &t->cause)) != 0)
        mssh_transport_fail_with_cause(t);
    return accept ? t->failure.code : 0;
}

/* --- time and commands */

void mssh_transport_tick(mssh_transport *t, uint64_t now_ms)
{
    if (!t->clock_known)
        t->keys_since_ms = now_ms;
    t->clock_known = true;
    t->now_ms = now_ms;
    mssh_exchange_start_if_due(t);
}

uint64_t mssh_transport_deadline(const mssh_transport *t)
{
    if (!t->clock_known || !t->authenticated || t->attached || t->exchange != MSSH_EXCHANGE_IDLE ||
        t->failure.code != 0 || t->options.rekey_ms > UINT64_MAX - t->keys_since_ms)
        return UINT64_MAX;
    return t->keys_since_ms + t->options.rekey_ms;
}

void mssh_transport_trim(mssh_transport *t)
{
    mssh_packet_in_trim(&t->in);
    mssh_packet_out_trim(&t->out);
    if (mssh_buf_len(&t->held) == 0)
        mssh_buf_free(&t->held);
    if (mssh_buf_len(&t->trace) == 0)
        mssh_buf_free(&t->trace);
}

int mssh_transport_rekey(mssh_transport *t)
{
    if (t->failure.code != 0)
        return t->failure.code;
    if (!t->authenticated || t->attached)
        return MSSH_ERR_STATE;
    if (t->exchange == MSSH_EXCHANGE_IDLE)
        mssh_exchange_start(t);
    return t->failure.code;
}

int mssh_transport_set_authenticated(mssh_transport *t)
{
    if (t->failure.code != 0)
        return t->failure.code;
    if (t->authenticated || !t->first_done)
        return MSSH_ERR_STATE;
    t->authenticated = true;
    t->in.max_packet = t->options.max_packet;
    if (mssh_transport_compress_after_auth(t) != 0) {
        (void)mssh_fail(&t->cause, MSSH_ERR_MEMORY, 0, "out of memory for compression");
        mssh_transport_fail_with_cause(t);
    }
    return t->failure.code;
}
