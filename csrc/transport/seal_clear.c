#include "transport/seal.h"
#include "wire/writer.h"

/* RFC 4253 6: without a cipher packets are padded to a multiple of 8. */
enum { CLEAR_BLOCK_LEN = 8 };

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

static void clear_free(mssh_seal *seal)
{
    mssh_free(seal->mem, seal, sizeof *seal);
}

static const mssh_seal_ops ops = {peek, nothing, nothing, nothing, NULL, clear_free};

mssh_seal *mssh_seal_clear_new(mssh_mem *mem)
{
    mssh_seal *seal = mssh_alloc(mem, sizeof *seal);
    if (seal == NULL)
        return NULL;
    seal->ops = &ops;
    seal->mem = mem;
    seal->block_len = CLEAR_BLOCK_LEN;
    seal->head_len = 4;
    return seal;
}
