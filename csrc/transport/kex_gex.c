#include "transport/kex.h"
#include "wire/messages.h"
#include "wire/writer.h"

/* Sizes of a group that is let in (RFC 8270: no less than 2048). */
static const unsigned group_limits[2] = {2048, 8192};

static int group_kept(mssh_kex *kex, mssh_failure *failure)
{
    if (kex->group.error != 0)
        return mssh_fail(failure, kex->group.error, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED,
                         "key exchange: the group cannot be kept");
    return 0;
}

int mssh_kex_gex_start(mssh_kex *kex, mssh_failure *failure)
{
    if (kex->role == MSSH_SERVER) {
        kex->expected = MSSH_MSG_KEX_GEX_REQUEST;
        return 0;
    }
    mssh_write_u32(&kex->group, group_limits[0]);
    mssh_write_u32(&kex->group, kex->group_bits);
    mssh_write_u32(&kex->group, group_limits[1]);
    mssh_write_u8(&kex->message, MSSH_MSG_KEX_GEX_REQUEST);
    mssh_write_bytes(&kex->message, mssh_buf_slice(&kex->group));
    if (kex->message.error != 0)
        return mssh_fail(failure, kex->message.error, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED,
                         "key exchange: no message could be made");
    kex->expected = MSSH_MSG_KEX_GEX_GROUP;
    return group_kept(kex, failure);
}

static int use_group(mssh_kex *kex, mssh_slice p, mssh_slice g, mssh_failure *failure)
{
    int r = mssh_kem_new_group(kex->mem, p, g, group_limits, &kex->kem);

    if (r == MSSH_ERR_PROTOCOL)
        return mssh_kex_reject(failure, "the server's group is not acceptable");
    if (r != 0)
        return mssh_fail(failure, r, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED,
                         "key exchange: the server's group cannot be used");
    mssh_write_mpint(&kex->group, p);
    mssh_write_mpint(&kex->group, g);
    return group_kept(kex, failure);
}

/* byte SSH_MSG_KEX_DH_GEX_REQUEST; uint32 min; uint32 n, preferred; uint32 max */
static int on_request(mssh_kex *kex, mssh_reader *reader, mssh_failure *failure)
{
    uint32_t min = mssh_read_u32(reader);
    uint32_t n = mssh_read_u32(reader);
    uint32_t max = mssh_read_u32(reader);
    mssh_slice p;
    mssh_slice g;
    int r;

    if (!mssh_reader_done(reader))
        return mssh_kex_reject(failure, "the request for a group is cut short or too long");
    if (min > n || n > max || max < group_limits[0] || min > group_limits[1])
        return mssh_kex_reject(failure, "no group of the requested size");
    mssh_write_u32(&kex->group, min);
    mssh_write_u32(&kex->group, n);
    mssh_write_u32(&kex->group, max);
    mssh_kem_standard_group(n < group_limits[0] ? group_limits[0] : n, &p, &g);
    if (p.len * 8 > max || p.len * 8 < min)
        return mssh_kex_reject(failure, "no group of the requested size");
    r = use_group(kex, p, g, failure);
    if (r != 0)
        return r;
    mssh_write_u8(&kex->message, MSSH_MSG_KEX_GEX_GROUP);
    mssh_write_mpint(&kex->message, p);
    mssh_write_mpint(&kex->message, g);
    if (kex->message.error != 0)
        return mssh_fail(failure, kex->message.error, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED,
                         "key exchange: no message could be made");
    kex->expected = MSSH_MSG_KEX_GEX_INIT;
    return 0;
}

/* byte SSH_MSG_KEX_DH_GEX_GROUP; mpint p, a safe prime; mpint g, a generator */
static int on_group(mssh_kex *kex, mssh_reader *reader, mssh_failure *failure)
{
    mssh_slice p = mssh_read_mpint(reader);
    mssh_slice g = mssh_read_mpint(reader);
    int r;

    if (!mssh_reader_done(reader))
        return mssh_kex_reject(failure, "the server's group is not well formed");
    r = use_group(kex, p, g, failure);
    if (r != 0)
        return r;
    kex->expected = MSSH_MSG_KEX_GEX_REPLY;
    return mssh_kex_offer(kex, MSSH_MSG_KEX_GEX_INIT, failure);
}

/* The last two messages are those of a basic exchange under other numbers:
 * byte SSH_MSG_KEX_DH_GEX_INIT; mpint e
 * byte SSH_MSG_KEX_DH_GEX_REPLY; string K_S; mpint f; string signature of H */
int mssh_kex_gex_handle(mssh_kex *kex, mssh_slice payload, mssh_failure *failure)
{
    mssh_reader reader = mssh_reader_of(payload);

    switch (mssh_read_u8(&reader)) {
    case MSSH_MSG_KEX_GEX_REQUEST:
        return on_request(kex, &reader, failure);
    case MSSH_MSG_KEX_GEX_GROUP:
        return on_group(kex, &reader, failure);
    case MSSH_MSG_KEX_GEX_INIT:
        return mssh_kex_respond(kex, &reader, MSSH_MSG_KEX_GEX_REPLY, failure);
    default:
        return mssh_kex_conclude(kex, &reader, failure);
    }
}
