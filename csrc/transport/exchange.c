#include "transport/state.h"

#include "transport/extinfo.h"
#include "transport/kdf.h"
#include "wire/messages.h"
#include "wire/writer.h"

static bool fail(mssh_transport *t, int code, uint32_t reason, const char *why)
{
    (void)mssh_fail(&t->cause, code, reason, "%s", why);
    mssh_transport_fail_with_cause(t);
    return false;
}

static bool fail_kex(mssh_transport *t, int code, const char *why)
{
    return fail(t, code, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED, why);
}

static void our_lists(const mssh_transport *t, mssh_slice *lists)
{
    for (int i = 0; i < MSSH_N_ALG_CLASSES; i++)
        lists[i] = mssh_buf_slice(&t->lists[i]);
}

void mssh_exchange_free(mssh_transport *t)
{
    mssh_kex_free(&t->kex);
    mssh_buf_free(&t->our_kexinit);
    mssh_seal_free(t->next_in);
    mssh_seal_free(t->next_out);
    t->next_in = NULL;
    t->next_out = NULL;
}

void mssh_exchange_start(mssh_transport *t)
{
    mssh_slice lists[MSSH_N_ALG_CLASSES];
    int r;

    our_lists(t, lists);
    mssh_buf_clear(&t->our_kexinit);
    r = mssh_kexinit_write(&t->our_kexinit, t->options.role, lists, !t->first_done);
    if (r != 0) {
        (void)fail(t, r, 0, "KEXINIT cannot be made");
        return;
    }
    t->exchange = MSSH_EXCHANGE_EXPECT_KEXINIT;
    t->exchange_seq = t->out.seq;
    (void)mssh_transport_send_packet(t, mssh_buf_slice(&t->our_kexinit), MSSH_SLICE_EMPTY, false);
}

void mssh_exchange_start_if_due(mssh_transport *t)
{
    const mssh_transport_options *limits = &t->options;

    if (!t->authenticated || t->attached || t->exchange != MSSH_EXCHANGE_IDLE || t->failure.code != 0)
        return;
    if (t->out.octets >= limits->rekey_bytes || t->in.octets >= limits->rekey_bytes ||
        t->out.packets >= limits->rekey_packets || t->in.packets >= limits->rekey_packets ||
        (t->clock_known && t->now_ms - t->keys_since_ms >= limits->rekey_ms))
        mssh_exchange_start(t);
}

/* --- KEXINIT */

/* Keeps both lists of a failed negotiation: the peer's KEXINIT will not stay. */
static bool fail_negotiation(mssh_transport *t, const mssh_negotiation_failure *why)
{
    char ours[200];
    char theirs[200];
    bool strict = mssh_slice_is(mssh_slice_of_text(why->what), "strict");

    t->negotiation = *why;
    if (mssh_buf_append(&t->their_list, why->theirs.data, why->theirs.len) != 0)
        return fail_kex(t, MSSH_ERR_MEMORY, "out of memory for a name-list");
    t->negotiation.theirs = mssh_buf_slice(&t->their_list);
    (void)mssh_escape(ours, sizeof ours, why->ours.data, why->ours.len);
    (void)mssh_escape(theirs, sizeof theirs, why->theirs.data, why->theirs.len);
    (void)mssh_fail(
        &t->cause, MSSH_ERR_NEGOTIATION, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED,
        strict ? "the peer does no strict key exchange, without which the cipher is unsafe, or which "
                 "is required: ours %s, theirs %s"
               : "no common algorithm: ours %s, theirs %s",
        ours, theirs);
    mssh_transport_fail_with_cause(t);
    return false;
}

static bool allows(const mssh_transport *t, const mssh_direction *direction)
{
    switch (mssh_algorithm_hazard(direction->cipher, direction->mac)) {
    case MSSH_HAZARD_CHACHA:
        return t->options.allow_chacha;
    case MSSH_HAZARD_CBC_ETM:
        return t->options.allow_cbc_etm;
    case MSSH_HAZARD_NONE:
        break;
    }
    return true;
}

static bool refuses_without_strict(const mssh_transport *t, const mssh_choice *choice)
{
    if (t->strict)
        return false;
    if (t->options.require_strict)
        return true;
    return !allows(t, &choice->to_server) || !allows(t, &choice->to_client);
}

/* Strict key exchange and EXT_INFO are settled by the first KEXINITs alone (OpenSSH's PROTOCOL 1.10, RFC 8308
 * 2.1). Under the former nothing may have come before. */
static bool settle_marks(mssh_transport *t, const mssh_kexinit *peer)
{
    if (t->first_done)
        return true;
    t->strict = mssh_kexinit_is_strict(peer, t->options.role);
    t->peer_wants_ext_info = mssh_kexinit_wants_ext_info(peer, t->options.role);
    if (t->strict && t->in.seq != 1)
        return fail(t, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR,
                    "strict key exchange: KEXINIT was not the first packet");
    return true;
}

static bool choose(mssh_transport *t, const mssh_kexinit *peer)
{
    mssh_slice lists[MSSH_N_ALG_CLASSES];
    mssh_negotiation_failure why;

    our_lists(t, lists);
    if (mssh_kexinit_choose(t->options.role, lists, peer, &t->next_choice, &why) != 0)
        return fail_negotiation(t, &why);
    if (refuses_without_strict(t, &t->next_choice)) {
        why.what = "strict";
        why.ours = lists[MSSH_ALG_CIPHER];
        why.theirs = peer->lists[MSSH_LIST_CIPHER];
        return fail_negotiation(t, &why);
    }
    t->skips_wrong_guess = peer->follows && !mssh_kexinit_guess_is_right(lists, peer);
    return true;
}

/* Size of a group that is as hard to break as the ciphers (NIST SP 800-57). */
static unsigned group_bits_for(const mssh_choice *choice)
{
    unsigned a = choice->to_server.cipher->bits;
    unsigned b = choice->to_client.cipher->bits;
    unsigned bits = a > b ? a : b;

    return bits <= 128 ? 3072 : bits <= 192 ? 7680 : 8192;
}

static const mssh_key *host_key_for(const mssh_transport *t, const char *algorithm)
{
    const mssh_sig_algorithm *row = mssh_sig_algorithm_find(mssh_slice_of_text(algorithm));

    for (size_t i = 0; row != NULL && i < t->n_host_keys; i++)
        if (mssh_slice_is(mssh_slice_of_text(mssh_key_type(t->host_keys[i])), row->key_type))
            return t->host_keys[i];
    return NULL;
}

static void send_message(mssh_transport *t)
{
    t->exchange_seq = t->out.seq;
    if (mssh_buf_len(&t->kex.message) > 0)
        (void)mssh_transport_send_packet(t, mssh_buf_slice(&t->kex.message), MSSH_SLICE_EMPTY, false);
    mssh_buf_clear(&t->kex.message);
}

static bool begin_method(mssh_transport *t, mssh_slice peer_kexinit)
{
    bool client = t->options.role == MSSH_CLIENT;
    mssh_slice our_ident = mssh_slice_of(t->our_ident, t->our_ident_len);
    mssh_slice peer_ident = mssh_slice_of(t->peer_ident.text, t->peer_ident.len);
    mssh_slice our_kexinit = mssh_buf_slice(&t->our_kexinit);
    mssh_kex *kex = &t->kex;

    kex->method = t->next_choice.kex;
    kex->host_key_algorithm = t->next_choice.host_key;
    kex->group_bits = group_bits_for(&t->next_choice);
    kex->min_rsa_bits = t->options.min_rsa_bits;
    if (!client) {
        kex->host_key = host_key_for(t, kex->host_key_algorithm);
        if (kex->host_key == NULL)
            return fail_kex(t, MSSH_ERR_UNSUPPORTED, "there is no host key of the kind chosen");
    }
    mssh_write_string(&kex->transcript, client ? our_ident : peer_ident);
    mssh_write_string(&kex->transcript, client ? peer_ident : our_ident);
    mssh_write_string(&kex->transcript, client ? our_kexinit : peer_kexinit);
    mssh_write_string(&kex->transcript, client ? peer_kexinit : our_kexinit);
    if (kex->transcript.error != 0)
        return fail_kex(t, kex->transcript.error, "KEXINIT cannot be kept");
    mssh_buf_free(&t->our_kexinit);
    t->exchange = MSSH_EXCHANGE_EXPECT_METHOD;
    if (mssh_kex_start(kex, &t->cause) != 0) {
        mssh_transport_fail_with_cause(t);
        return false;
    }
    send_message(t);
    return false;
}

/* For the fields see mssh_kexinit_parse. */
bool mssh_exchange_on_kexinit(mssh_transport *t, mssh_slice payload)
{
    mssh_kexinit peer;

    if (mssh_kexinit_parse(payload, &peer, &t->cause) != 0) {
        mssh_transport_fail_with_cause(t);
        return false;
    }
    if (!settle_marks(t, &peer))
        return false;
    if (t->exchange == MSSH_EXCHANGE_IDLE)
        mssh_exchange_start(t);
    if (t->failure.code != 0 || !choose(t, &peer))
        return false;
    return begin_method(t, payload);
}

/* --- the method's messages, and the keys that come of them */

static mssh_seal *derive_seal(mssh_transport *t, bool to_server, mssh_mem *mem)
{
    const mssh_direction *direction = to_server ? &t->next_choice.to_server : &t->next_choice.to_client;
    const mssh_cipher_row *cipher = direction->cipher;
    const mssh_mac_row *mac = direction->mac;
    mssh_kdf_input input = {
        t->kex.method->hash,
        mssh_buf_slice(&t->kex.secret),
        mssh_slice_of(t->kex.hash, mssh_kex_hash_len(&t->kex)),
        mssh_slice_of(t->session_id, t->session_id_len),
    };
    bool sending = to_server == (t->options.role == MSSH_CLIENT);
    mssh_seal *seal = NULL;
    mssh_seal_keys keys;

    if (mssh_kdf(&input, to_server ? 'A' : 'B', keys.iv, cipher->iv_len) == 0 &&
        mssh_kdf(&input, to_server ? 'C' : 'D', keys.key, cipher->key_len) == 0 &&
        (mac == NULL || mssh_kdf(&input, to_server ? 'E' : 'F', keys.mac_key, mac->key_len) == 0))
        seal = mssh_seal_new(mem, cipher, mac, sending, &keys);
    mssh_wipe(&keys, sizeof keys);
    return seal;
}

/* The session id is the first exchange hash, for ever (RFC 4253 7.2). */
static bool derive_keys(mssh_transport *t)
{
    bool client = t->options.role == MSSH_CLIENT;

    if (t->session_id_len == 0) {
        t->session_id_len = mssh_kex_hash_len(&t->kex);
        memcpy(t->session_id, t->kex.hash, t->session_id_len);
    }
    t->next_out = derive_seal(t, client, t->mem);
    t->next_in = derive_seal(t, !client, t->mem);
    mssh_wipe_stack();
    if (t->next_out == NULL || t->next_in == NULL)
        return fail_kex(t, MSSH_ERR_MEMORY, "the new keys cannot be set up");
    return true;
}

/* The key shown in the first exchange is the key for ever: a later one must be the same. */
static bool keep_host_key(mssh_transport *t)
{
    mssh_slice blob = mssh_buf_slice(&t->kex.host_key_blob);
    mssh_slice signature = mssh_buf_slice(&t->kex.signature);

    if (mssh_buf_len(&t->host_key) > 0) {
        if (t->options.role == MSSH_CLIENT && !mssh_slice_equals(mssh_buf_slice(&t->host_key), blob))
            return fail(t, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_HOST_KEY_NOT_VERIFIABLE,
                        "the host key changed in a later key exchange");
        return true;
    }
    if (mssh_buf_append(&t->host_key, blob.data, blob.len) != 0 ||
        mssh_buf_append(&t->host_signature, signature.data, signature.len) != 0)
        return fail_kex(t, MSSH_ERR_MEMORY, "out of memory for the host key");
    return true;
}

bool mssh_exchange_on_method(mssh_transport *t, mssh_slice payload, mssh_transport_event *event)
{
    if (mssh_kex_handle(&t->kex, payload, &t->cause) != 0) {
        mssh_transport_fail_with_cause(t);
        return false;
    }
    send_message(t);
    if (t->failure.code != 0 || t->kex.expected != 0)
        return false;
    if (!keep_host_key(t) || !derive_keys(t))
        return false;
    if (t->options.role == MSSH_CLIENT && !t->first_done) {
        t->exchange = MSSH_EXCHANGE_EXPECT_ANSWER;
        t->question = MSSH_QUESTION_HOST_KEY;
        event->type = MSSH_TRANSPORT_HOST_KEY;
        event->data = mssh_buf_slice(&t->host_key);
        return true;
    }
    mssh_exchange_go_on(t);
    return false;
}

/* --- NEWKEYS */

/* RFC 8308 2.4: the first packet after the server's first NEWKEYS. A client of ours has nothing to tell. */
static void send_ext_info(mssh_transport *t)
{
    mssh_buf message;

    if (t->first_done || t->options.role != MSSH_SERVER || !t->peer_wants_ext_info || t->failure.code != 0)
        return;
    mssh_buf_init(&message, t->mem, 1024);
    if (mssh_extinfo_write(&message) != 0)
        (void)fail(t, MSSH_ERR_MEMORY, 0, "out of memory for EXT_INFO");
    else
        (void)mssh_transport_send_packet(t, mssh_buf_slice(&message), MSSH_SLICE_EMPTY, false);
    mssh_buf_free(&message);
}

/* Sends NEWKEYS and takes the new keys into use for sending. */
void mssh_exchange_go_on(mssh_transport *t)
{
    static const uint8_t newkeys = MSSH_MSG_NEWKEYS;
    bool client = t->options.role == MSSH_CLIENT;
    const mssh_direction *direction = client ? &t->next_choice.to_server : &t->next_choice.to_client;
    mssh_deflate *deflate = NULL;

    if (mssh_transport_send_packet(t, mssh_slice_of(&newkeys, 1), MSSH_SLICE_EMPTY, false) != 0)
        return;
    t->out_compression = direction->compression->start;
    if (mssh_transport_deflate_for(t, t->out_compression, &deflate) != 0) {
        (void)fail(t, MSSH_ERR_MEMORY, 0, "out of memory for compression");
        return;
    }
    mssh_packet_out_rekey(&t->out, t->next_out, deflate, t->strict);
    t->next_out = NULL;
    t->exchange = MSSH_EXCHANGE_EXPECT_NEWKEYS;
    send_ext_info(t);
    if (t->first_done)
        mssh_transport_send_held(t);
}

/* byte SSH_MSG_NEWKEYS */
bool mssh_exchange_on_newkeys(mssh_transport *t, mssh_slice payload, mssh_transport_event *event)
{
    bool client = t->options.role == MSSH_CLIENT;
    const mssh_direction *direction = client ? &t->next_choice.to_client : &t->next_choice.to_server;
    mssh_inflate *inflate = NULL;

    if (payload.len != 1)
        return fail(t, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR, "NEWKEYS is too long");
    t->in_compression = direction->compression->start;
    if (mssh_transport_inflate_for(t, t->in_compression, &inflate) != 0)
        return fail(t, MSSH_ERR_MEMORY, 0, "out of memory for compression");
    mssh_packet_in_rekey(&t->in, t->next_in, inflate, t->strict);
    t->next_in = NULL;
    t->choice = t->next_choice;
    t->exchange = MSSH_EXCHANGE_IDLE;
    t->keys_since_ms = t->now_ms;
    mssh_exchange_free(t);
    if (t->first_done) {
        t->rekeys++;
    } else {
        t->first_done = true;
        t->after_newkeys = true;
        mssh_transport_send_held(t);
    }
    event->type = MSSH_TRANSPORT_KEX_DONE;
    return t->failure.code == 0;
}
