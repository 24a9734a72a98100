/* The transport of somebody else, used through a local socket: OpenSSH's PROTOCOL.mux 10, proxy mode. Packets
 * are neither padded nor protected, and what concerns the connection below is none of our business. */
#include "transport/state.h"

/* As before the first NEWKEYS, but without the padding. */
static mssh_seal *bare_new(mssh_mem *mem)
{
    mssh_seal *seal = mssh_seal_clear_new(mem);

    if (seal != NULL) {
        seal->block_len = 1;
        seal->unpadded = true;
    }
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
