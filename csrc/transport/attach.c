/* The transport of somebody else, used through a local socket: OpenSSH's PROTOCOL.mux 10, proxy mode. Packets
 * are neither padded nor protected, and what concerns the connection below is none of our business. */
#include "transport/state.h"

#include "wire/writer.h"

static int peek(mssh_seal *seal, uint32_t seq, uint8_t *packet, uint32_t *length)
{
    (void)seal;
    (void)seq;
    *length = mssh_load_u32(packet);
    return 0;
}

static int nothing(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    (void)seal;
    (void)seq;
    (void)packet;
    (void)length;
    return 0;
}

static void bare_free(mssh_seal *seal)
{
    mssh_free(seal->mem, seal, sizeof *seal);
}

static const mssh_seal_ops ops = {peek, nothing, nothing, nothing, NULL, bare_free};

static mssh_seal *bare_new(mssh_mem *mem)
{
    mssh_seal *seal = mssh_alloc(mem, sizeof *seal);

    if (seal == NULL)
        return NULL;
    seal->ops = &ops;
    seal->mem = mem;
    seal->block_len = 1;
    seal->head_len = 4;
    seal->unpadded = true;
    return seal;
}

int mssh_transport_attach(mssh_transport *t)
{
    mssh_seal *in;
    mssh_seal *out;

    if (t->failure.code != 0)
        return t->failure.code;
    if (t->started)
        return MSSH_ERR_STATE;
    in = bare_new(t->mem);
    out = bare_new(t->mem);
    if (in == NULL || out == NULL) {
        mssh_seal_free(in);
        mssh_seal_free(out);
        return MSSH_ERR_MEMORY;
    }
    mssh_packet_in_rekey(&t->in, in, NULL, true);
    mssh_packet_out_rekey(&t->out, out, NULL, true);
    t->in.max_packet = t->options.max_packet;
    t->started = t->attached = t->first_done = t->authenticated = true;
    return 0;
}
