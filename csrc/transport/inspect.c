#include "transport/state.h"

enum { MOST_TRACE_RECORDS = 4096 };

static mssh_slice ours(const mssh_transport *t)
{
    return mssh_slice_of(t->our_ident, t->our_ident_len);
}

static mssh_slice theirs(const mssh_transport *t)
{
    return mssh_slice_of(t->peer_ident.text, t->peer_ident.len);
}

static const char *mac_name(const mssh_direction *direction)
{
    return direction->mac == NULL ? "" : direction->mac->algorithm.name;
}

static void fill_names(const mssh_transport *t, mssh_transport_info *info)
{
    bool client = t->options.role == MSSH_CLIENT;
    const mssh_direction *send = client ? &t->choice.to_server : &t->choice.to_client;
    const mssh_direction *recv = client ? &t->choice.to_client : &t->choice.to_server;

    info->kex = t->choice.kex->algorithm.name;
    info->host_key = t->choice.host_key;
    info->cipher_send = send->cipher->algorithm.name;
    info->cipher_recv = recv->cipher->algorithm.name;
    info->mac_send = mac_name(send);
    info->mac_recv = mac_name(recv);
    info->compression_send = send->compression->algorithm.name;
    info->compression_recv = recv->compression->algorithm.name;
}

void mssh_transport_info_get(const mssh_transport *t, mssh_transport_info *info)
{
    bool client = t->options.role == MSSH_CLIENT;

    memset(info, 0, sizeof *info);
    info->client_ident = client ? ours(t) : theirs(t);
    info->server_ident = client ? theirs(t) : ours(t);
    info->kex = info->host_key = info->cipher_send = info->cipher_recv = "";
    info->mac_send = info->mac_recv = info->compression_send = info->compression_recv = "";
    if (t->choice.kex != NULL)
        fill_names(t, info);
    info->session_id = mssh_slice_of(t->session_id, t->session_id_len);
    info->strict = t->strict;
    info->bytes_sent = t->bytes_sent;
    info->bytes_received = t->bytes_received;
    info->packets_sent = t->packets_sent;
    info->packets_received = t->packets_received;
    info->rekeys = t->rekeys;
}

mssh_slice mssh_transport_host_key(const mssh_transport *t)
{
    return mssh_buf_slice(&t->host_key);
}

mssh_slice mssh_transport_host_signature(const mssh_transport *t)
{
    return mssh_buf_slice(&t->host_signature);
}

bool mssh_transport_is_hostbound(const mssh_transport *t)
{
    return t->hostbound;
}

mssh_slice mssh_transport_server_sig_algs(const mssh_transport *t, bool *known)
{
    *known = t->sig_algs_known;
    return mssh_buf_slice(&t->sig_algs);
}

mssh_negotiation_failure mssh_transport_negotiation(const mssh_transport *t)
{
    return t->negotiation;
}

const char *mssh_transport_stage(const mssh_transport *t)
{
    if (t->peer_ident.len == 0)
        return "identification";
    if (t->exchange == MSSH_EXCHANGE_EXPECT_ANSWER)
        return "host_key";
    return t->first_done ? "open" : "kex";
}

void mssh_transport_trace(mssh_transport *t, bool on)
{
    t->tracing = on;
    if (!on)
        mssh_buf_free(&t->trace);
}

void mssh_transport_note(mssh_transport *t, bool sent, mssh_slice head, size_t len)
{
    mssh_trace_record record = {sent ? 1 : 0, head.data[0], (uint32_t)len};

    if (mssh_buf_len(&t->trace) >= MOST_TRACE_RECORDS * sizeof record)
        return;
    (void)mssh_buf_append(&t->trace, &record, sizeof record);
    t->trace.error = 0; /* out of memory costs a record, not the connection */
}

bool mssh_transport_trace_next(mssh_transport *t, mssh_trace_record *record)
{
    if (mssh_buf_len(&t->trace) < sizeof *record)
        return false;
    memcpy(record, mssh_buf_bytes(&t->trace), sizeof *record);
    mssh_buf_consume(&t->trace, sizeof *record);
    return true;
}
