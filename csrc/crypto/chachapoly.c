#include "crypto/chachapoly.h"

#include "base/error.h"
#include "base/mem.h"
#include "crypto/equal.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

enum { HALF_KEY_LEN = 32, POLY_KEY_LEN = 32, BLOCK_LEN = 64, IV_LEN = 16 };

struct mssh_chachapoly {
    EVP_CIPHER_CTX *length; /* second half of the key */
    EVP_CIPHER_CTX *text;   /* first half */
    EVP_MAC_CTX *poly;
};

static EVP_CIPHER_CTX *chacha_new(const uint8_t *key)
{
    static const uint8_t iv[IV_LEN];
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "ChaCha20", NULL);
    EVP_CIPHER_CTX *ctx = cipher != NULL ? EVP_CIPHER_CTX_new() : NULL;

    if (ctx != NULL && EVP_CipherInit_ex2(ctx, cipher, key, iv, 1, NULL) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_CIPHER_free(cipher);
    return ctx;
}

mssh_chachapoly *mssh_chachapoly_new(const uint8_t *key)
{
    mssh_chachapoly *ctx = OPENSSL_zalloc(sizeof *ctx);
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);

    if (ctx != NULL && mac != NULL) {
        ctx->text = chacha_new(key);
        ctx->length = chacha_new(key + HALF_KEY_LEN);
        ctx->poly = EVP_MAC_CTX_new(mac);
    }
    EVP_MAC_free(mac);
    if (ctx == NULL || ctx->text == NULL || ctx->length == NULL || ctx->poly == NULL) {
        mssh_chachapoly_free(ctx);
        return NULL;
    }
    return ctx;
}

void mssh_chachapoly_free(mssh_chachapoly *ctx)
{
    if (ctx == NULL)
        return;
    EVP_CIPHER_CTX_free(ctx->text);
    EVP_CIPHER_CTX_free(ctx->length);
    EVP_MAC_CTX_free(ctx->poly);
    OPENSSL_free(ctx);
}

/* OpenSSL's IV is the block counter (little-endian) and the nonce behind it; the nonce here is the sequence
 * number, big-endian. */
static int start(EVP_CIPHER_CTX *cipher, uint32_t seq)
{
    uint8_t iv[IV_LEN] = {0};

    for (size_t i = 0; i < 4; i++)
        iv[IV_LEN - 1 - i] = (uint8_t)(seq >> (8 * i));
    return EVP_CipherInit_ex(cipher, NULL, NULL, NULL, iv, -1) == 1 ? 0 : MSSH_ERR_UNSUPPORTED;
}

static int apply(EVP_CIPHER_CTX *cipher, uint8_t *out, const uint8_t *in, size_t len)
{
    int done = 0;

    if (len == 0)
        return 0;
    if (len > INT_MAX || EVP_CipherUpdate(cipher, out, &done, in, (int)len) != 1 || done != (int)len)
        return MSSH_ERR_UNSUPPORTED;
    return 0;
}

/* Sets up the text cipher for a packet. Block 0 gives the Poly1305 key; taking all of it leaves the cipher at
 * block 1, where the text begins, without another set-up. */
static int start_text(mssh_chachapoly *ctx, uint32_t seq, uint8_t *poly_key)
{
    static const uint8_t zeros[BLOCK_LEN];
    uint8_t block[BLOCK_LEN];
    int rc = start(ctx->text, seq);

    if (rc == 0)
        rc = apply(ctx->text, block, zeros, sizeof block);
    if (rc == 0)
        memcpy(poly_key, block, POLY_KEY_LEN);
    mssh_wipe(block, sizeof block);
    return rc;
}

static int compute_tag(mssh_chachapoly *ctx, const uint8_t *poly_key, mssh_slice bytes, uint8_t *tag)
{
    size_t len = 0;

    if (EVP_MAC_init(ctx->poly, poly_key, POLY_KEY_LEN, NULL) != 1 ||
        EVP_MAC_update(ctx->poly, bytes.data, bytes.len) != 1 ||
        EVP_MAC_final(ctx->poly, tag, &len, MSSH_CHACHAPOLY_TAG_LEN) != 1 || len != MSSH_CHACHAPOLY_TAG_LEN)
        return MSSH_ERR_UNSUPPORTED;
    return 0;
}

int mssh_chachapoly_length(mssh_chachapoly *ctx, uint32_t seq, const uint8_t *in, uint32_t *length)
{
    uint8_t clear[4];

    if (start(ctx->length, seq) != 0 || apply(ctx->length, clear, in, sizeof clear) != 0)
        return MSSH_ERR_UNSUPPORTED;
    *length = (uint32_t)clear[0] << 24 | (uint32_t)clear[1] << 16 | (uint32_t)clear[2] << 8 | clear[3];
    return 0;
}

int mssh_chachapoly_seal(mssh_chachapoly *ctx, uint32_t seq, uint8_t *packet, size_t len)
{
    uint8_t poly_key[POLY_KEY_LEN];
    int rc = start_text(ctx, seq, poly_key);

    if (rc == 0)
        rc = start(ctx->length, seq);
    if (rc == 0)
        rc = apply(ctx->length, packet, packet, 4);
    if (rc == 0)
        rc = apply(ctx->text, packet + 4, packet + 4, len);
    if (rc == 0)
        rc = compute_tag(ctx, poly_key, mssh_slice_of(packet, 4 + len), packet + 4 + len);
    mssh_wipe(poly_key, sizeof poly_key);
    return rc;
}

/* Opens bytes[clear_len + len], of which the tag behind covers all and the cipher what comes after the first
 * clear_len. */
static int open_text(mssh_chachapoly *ctx, uint32_t seq, uint8_t *bytes, size_t clear_len, size_t len)
{
    uint8_t poly_key[POLY_KEY_LEN];
    uint8_t tag[MSSH_CHACHAPOLY_TAG_LEN];
    size_t all = clear_len + len;
    int rc = start_text(ctx, seq, poly_key);

    if (rc == 0)
        rc = compute_tag(ctx, poly_key, mssh_slice_of(bytes, all), tag);
    if (rc == 0 && !mssh_equal_ct(tag, bytes + all, sizeof tag))
        rc = MSSH_ERR_MAC;
    if (rc == 0)
        rc = apply(ctx->text, bytes + clear_len, bytes + clear_len, len);
    mssh_wipe(poly_key, sizeof poly_key);
    return rc;
}

int mssh_chachapoly_open(mssh_chachapoly *ctx, uint32_t seq, uint8_t *packet, size_t len)
{
    return open_text(ctx, seq, packet, 4, len);
}

int mssh_chachapoly_open_file(mssh_chachapoly *ctx, uint8_t *text, size_t len)
{
    return open_text(ctx, 0, text, 0, len);
}

int mssh_chachapoly_open_unverified(mssh_chachapoly *ctx, uint32_t seq, uint8_t *packet, size_t len)
{
    uint8_t poly_key[POLY_KEY_LEN];
    int rc = start_text(ctx, seq, poly_key);

    if (rc == 0)
        rc = apply(ctx->text, packet + 4, packet + 4, len);
    mssh_wipe(poly_key, sizeof poly_key);
    return rc;
}
