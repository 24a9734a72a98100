#include "crypto/equal.h"
#include "crypto/umac.h"
#include "transport/seal.h"
#include "wire/writer.h"

/* A cipher with a MAC of its own. Encrypt-and-MAC (RFC 4253 6.4): the length field is encrypted with the
 * rest, the MAC covers the plain packet. Encrypt-then-MAC (OpenSSH's PROTOCOL 1.6): the length field stays in
 * the clear, the MAC covers what is on the wire. HMAC begins with the sequence number, UMAC has it for a
 * nonce. */
typedef struct seal_mac {
    mssh_seal base;
    mssh_cipher *cipher;
    mssh_hmac *hmac;
    mssh_umac *umac; /* in place of it */
} seal_mac;

static int mac_of(seal_mac *self, uint32_t seq, const uint8_t *packet, size_t length, uint8_t *tag)
{
    uint8_t number[4];
    mssh_slice parts[2];

    if (self->umac != NULL)
        return mssh_umac_compute(self->umac, seq, mssh_slice_of(packet, 4 + length), tag);
    mssh_store_u32(number, seq);
    parts[0] = mssh_slice_of(number, sizeof number);
    parts[1] = mssh_slice_of(packet, 4 + length);
    return mssh_hmac_compute(self->hmac, parts, 2, tag);
}

static int check_mac(seal_mac *self, uint32_t seq, const uint8_t *packet, size_t length)
{
    uint8_t tag[MSSH_HASH_MAX];
    int r = mac_of(self, seq, packet, length, tag);

    if (r == 0 && !mssh_equal_ct(tag, packet + 4 + length, self->base.tag_len))
        r = MSSH_ERR_MAC;
    mssh_wipe(tag, sizeof tag);
    return r;
}

static int write_mac(seal_mac *self, uint32_t seq, uint8_t *packet, size_t length)
{
    uint8_t tag[MSSH_HASH_MAX];
    int r = mac_of(self, seq, packet, length, tag);

    if (r == 0)
        memcpy(packet + 4 + length, tag, self->base.tag_len);
    return r;
}

/* Encrypt-and-MAC: the length is in the first block, which is decrypted for it. */
static int eam_peek(mssh_seal *seal, uint32_t seq, uint8_t *packet, uint32_t *length)
{
    seal_mac *self = (seal_mac *)(void *)seal;
    int r = mssh_cipher_apply(self->cipher, packet, seal->block_len);

    (void)seq;
    if (r == 0)
        *length = mssh_load_u32(packet);
    return r;
}

static int eam_open(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_mac *self = (seal_mac *)(void *)seal;
    size_t peeked = seal->block_len;
    int r = 0;

    if (4 + length > peeked)
        r = mssh_cipher_apply(self->cipher, packet + peeked, 4 + length - peeked);
    return r != 0 ? r : check_mac(self, seq, packet, length);
}

/* A failed open has decrypted all there is. */
static int eam_open_unverified(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    (void)seal;
    (void)seq;
    (void)packet;
    (void)length;
    return 0;
}

static void eam_spend(mssh_seal *seal, size_t len)
{
    static const uint8_t zeros[4096];
    uint8_t tag[MSSH_HASH_MAX];

    for (size_t piece; len > 0; len -= piece) {
        piece = len < sizeof zeros ? len : sizeof zeros;
        if (piece > 4)
            (void)mac_of((seal_mac *)(void *)seal, 0, zeros, piece - 4, tag);
    }
}

static int eam_seal(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_mac *self = (seal_mac *)(void *)seal;
    int r = write_mac(self, seq, packet, length);
    return r != 0 ? r : mssh_cipher_apply(self->cipher, packet, 4 + length);
}

static int etm_peek(mssh_seal *seal, uint32_t seq, uint8_t *packet, uint32_t *length)
{
    (void)seal;
    (void)seq;
    *length = mssh_load_u32(packet);
    return 0;
}

static int etm_open_unverified(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_mac *self = (seal_mac *)(void *)seal;
    (void)seq;
    return mssh_cipher_apply(self->cipher, packet + 4, length);
}

static int etm_open(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    int r = check_mac((seal_mac *)(void *)seal, seq, packet, length);
    return r != 0 ? r : etm_open_unverified(seal, seq, packet, length);
}

static int etm_seal(mssh_seal *seal, uint32_t seq, uint8_t *packet, size_t length)
{
    seal_mac *self = (seal_mac *)(void *)seal;
    int r = mssh_cipher_apply(self->cipher, packet + 4, length);
    return r != 0 ? r : write_mac(self, seq, packet, length);
}

static void mac_free(mssh_seal *seal)
{
    seal_mac *self = (seal_mac *)(void *)seal;
    mssh_cipher_free(self->cipher);
    mssh_hmac_free(self->hmac);
    mssh_umac_free(self->umac);
    mssh_free(seal->mem, self, sizeof *self);
}

static const mssh_seal_ops eam_ops = {eam_peek, eam_open, eam_open_unverified, eam_seal, eam_spend, mac_free};
static const mssh_seal_ops etm_ops = {etm_peek, etm_open, etm_open_unverified, etm_seal, NULL, mac_free};

mssh_seal *mssh_seal_mac_new(mssh_mem *mem, const mssh_cipher_row *cipher, const mssh_mac_row *mac,
                             bool encrypt, const mssh_seal_keys *keys)
{
    seal_mac *self = mssh_alloc(mem, sizeof *self);
    if (self == NULL)
        return NULL;
    self->base.ops = mac->etm ? &etm_ops : &eam_ops;
    self->base.mem = mem;
    self->base.block_len = cipher->block_len;
    self->base.head_len = mac->etm ? 4 : cipher->block_len;
    self->base.tag_len = mac->tag_len;
    self->base.length_apart = mac->etm;
    self->base.decrypts_first = !mac->etm;
    self->base.conceals = cipher->chained && !mac->etm;
    self->cipher = mssh_cipher_new(cipher->id, encrypt, keys->key, keys->iv);
    if (mac->umac)
        self->umac = mssh_umac_new(mac->tag_len, keys->mac_key);
    else
        self->hmac = mssh_hmac_new(mac->hash, mssh_slice_of(keys->mac_key, mac->key_len));
    if (self->cipher == NULL || (self->hmac == NULL && self->umac == NULL)) {
        mac_free(&self->base);
        return NULL;
    }
    return &self->base;
}
