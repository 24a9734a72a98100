#include "crypto/chachapoly.h"
#include "transport/seal.h"

/* PROTOCOL.chacha20poly1305: the length field is encrypted apart, so that it can be read before the rest is
 * there. */
typedef struct seal_chacha {
    mssh_seal base;
    mssh_chachapoly *ctx;
} seal_chacha;

enum { CHACHA_BLOCK_LEN = 8 };

static int peek(mssh_seal *seal, uint32_t seq, uint8_t *packet, uint32_t *length)
{
    seal_chacha *self = (seal_chacha *)(void *)seal;
    return mssh_chachapoly_length(self->ctx, seq, packet, length);
}

static int chacha_open(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_chacha *self = (seal_chacha *)(void *)seal;
    return mssh_chachapoly_open(self->ctx, seq, packet, length);
}

static int chacha_open_unverified(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_chacha *self = (seal_chacha *)(void *)seal;
    return mssh_chachapoly_open_unverified(self->ctx, seq, packet, length);
}

static int chacha_seal(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_chacha *self = (seal_chacha *)(void *)seal;
    return mssh_chachapoly_seal(self->ctx, seq, packet, length);
}

static void chacha_free(mssh_seal *seal)
{
    seal_chacha *self = (seal_chacha *)(void *)seal;
    mssh_chachapoly_free(self->ctx);
    mssh_free(seal->mem, self, sizeof *self);
}

static const mssh_seal_ops ops = {peek, chacha_open, chacha_open_unverified, chacha_seal, NULL, chacha_free};

mssh_seal *mssh_seal_chacha_new(mssh_mem *mem, const mssh_seal_keys *keys)
{
    seal_chacha *self = mssh_alloc(mem, sizeof *self);
    if (self == NULL)
        return NULL;
    self->base.ops = &ops;
    self->base.mem = mem;
    self->base.block_len = CHACHA_BLOCK_LEN;
    self->base.head_len = 4;
    self->base.tag_len = MSSH_CHACHAPOLY_TAG_LEN;
    self->base.length_apart = true;
    self->ctx = mssh_chachapoly_new(keys->key);
    if (self->ctx == NULL) {
        chacha_free(&self->base);
        return NULL;
    }
    return &self->base;
}
