#include "transport/seal.h"
#include "wire/writer.h"

/* RFC 5647 7: the length field travels in the clear, as associated data. */
typedef struct seal_gcm {
    mssh_seal base;
    mssh_gcm *gcm;
} seal_gcm;

static int peek(mssh_seal *seal, uint32_t seq, uint8_t *packet, uint32_t *length)
{
    (void)seal;
    (void)seq;
    *length = mssh_load_u32(packet);
    return 0;
}

static int gcm_open(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_gcm *self = (seal_gcm *)(void *)seal;
    (void)seq;
    return mssh_gcm_open(self->gcm, packet, packet + 4, length, packet + 4 + length);
}

static int gcm_open_unverified(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_gcm *self = (seal_gcm *)(void *)seal;
    (void)seq;
    return mssh_gcm_open_unverified(self->gcm, packet + 4, length);
}

static int gcm_seal(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_gcm *self = (seal_gcm *)(void *)seal;
    (void)seq;
    return mssh_gcm_seal(self->gcm, packet, packet + 4, length, packet + 4 + length);
}

static void gcm_free(mssh_seal *seal)
{
    seal_gcm *self = (seal_gcm *)(void *)seal;
    mssh_gcm_free(self->gcm);
    mssh_free(seal->mem, self, sizeof *self);
}

static const mssh_seal_ops ops = {peek, gcm_open, gcm_open_unverified, gcm_seal, NULL, gcm_free};

mssh_seal *mssh_seal_gcm_new(mssh_mem *mem, const mssh_cipher_row *cipher, bool encrypt,
                             const mssh_seal_keys *keys)
{
    seal_gcm *self = mssh_alloc(mem, sizeof *self);
    if (self == NULL)
        return NULL;
    self->base.ops = &ops;
    self->base.mem = mem;
    self->base.block_len = cipher->block_len;
    self->base.head_len = 4;
    self->base.tag_len = MSSH_GCM_TAG_LEN;
    self->base.length_apart = true;
    self->base.spoils = true;
    self->gcm = mssh_gcm_new(encrypt, mssh_slice_of(keys->key, cipher->key_len), keys->iv);
    if (self->gcm == NULL) {
        gcm_free(&self->base);
        return NULL;
    }
    return &self->base;
}
