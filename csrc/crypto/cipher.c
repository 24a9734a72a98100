#include "crypto/cipher.h"

#include "base/error.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

typedef struct cipher_row {
    const char *name; /* OpenSSL's */
    size_t key_len;
    size_t iv_len;
    size_t block_len;
} cipher_row;

static const cipher_row rows[] = {
    [MSSH_CIPHER_AES128_CTR] = {"AES-128-CTR", 16, 16, 16},
    [MSSH_CIPHER_AES192_CTR] = {"AES-192-CTR", 24, 16, 16},
    [MSSH_CIPHER_AES256_CTR] = {"AES-256-CTR", 32, 16, 16},
    [MSSH_CIPHER_AES128_CBC] = {"AES-128-CBC", 16, 16, 16},
    [MSSH_CIPHER_AES192_CBC] = {"AES-192-CBC", 24, 16, 16},
    [MSSH_CIPHER_AES256_CBC] = {"AES-256-CBC", 32, 16, 16},
    [MSSH_CIPHER_3DES_CBC] = {"DES-EDE3-CBC", 24, 8, 8},
    [MSSH_CIPHER_AES128_ECB] = {"AES-128-ECB", 16, 0, 16},
};

struct mssh_cipher {
    EVP_CIPHER_CTX *ctx;
    size_t block_len;
};

size_t mssh_cipher_key_len(mssh_cipher_id id)
{
    return rows[id].key_len;
}

size_t mssh_cipher_iv_len(mssh_cipher_id id)
{
    return rows[id].iv_len;
}

size_t mssh_cipher_block_len(mssh_cipher_id id)
{
    return rows[id].block_len;
}

bool mssh_cipher_is_available(mssh_cipher_id id)
{
    EVP_CIPHER *cipher;

    ERR_set_mark();
    cipher = EVP_CIPHER_fetch(NULL, rows[id].name, NULL);
    (void)ERR_pop_to_mark();
    EVP_CIPHER_free(cipher);
    return cipher != NULL;
}

/* A context with its key set, or NULL. */
static EVP_CIPHER_CTX *context_new(const char *name, bool encrypt, const uint8_t *key, const uint8_t *iv)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *ctx = cipher != NULL ? EVP_CIPHER_CTX_new() : NULL;

    if (ctx != NULL && (EVP_CipherInit_ex2(ctx, cipher, key, iv, encrypt ? 1 : 0, NULL) != 1 ||
                        EVP_CIPHER_CTX_set_padding(ctx, 0) != 1)) {
        EVP_CIPHER_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_CIPHER_free(cipher);
    return ctx;
}

/* En- or decrypts in place; OpenSSL must say that it did all of it. */
static int update(EVP_CIPHER_CTX *ctx, uint8_t *bytes, size_t len)
{
    int done = 0;

    if (len == 0)
        return 0;
    if (len > INT_MAX || EVP_CipherUpdate(ctx, bytes, &done, bytes, (int)len) != 1 || done != (int)len)
        return MSSH_ERR_UNSUPPORTED;
    return 0;
}

mssh_cipher *mssh_cipher_new(mssh_cipher_id id, bool encrypt, const uint8_t *key, const uint8_t *iv)
{
    mssh_cipher *cipher = OPENSSL_zalloc(sizeof *cipher);

    if (cipher == NULL)
        return NULL;
    cipher->block_len = rows[id].block_len;
    cipher->ctx = context_new(rows[id].name, encrypt, key, iv);
    if (cipher->ctx == NULL) {
        mssh_cipher_free(cipher);
        return NULL;
    }
    return cipher;
}

void mssh_cipher_free(mssh_cipher *cipher)
{
    if (cipher == NULL)
        return;
    EVP_CIPHER_CTX_free(cipher->ctx);
    OPENSSL_free(cipher);
}

int mssh_cipher_apply(mssh_cipher *cipher, uint8_t *bytes, size_t len)
{
    /* A part of a block would be kept back (CBC), or put the peer out of step (CTR). */
    if (len % cipher->block_len != 0)
        return MSSH_ERR_PROTOCOL;
    return update(cipher->ctx, bytes, len);
}

struct mssh_gcm {
    EVP_CIPHER_CTX *ctx;
    uint64_t used; /* packets so far */
    bool encrypt;
    uint8_t iv[MSSH_GCM_IV_LEN];
};

mssh_gcm *mssh_gcm_new(bool encrypt, mssh_slice key, const uint8_t *iv)
{
    mssh_gcm *gcm = NULL;

    if (key.len == 16 || key.len == 32)
        gcm = OPENSSL_zalloc(sizeof *gcm);
    if (gcm == NULL)
        return NULL;
    gcm->encrypt = encrypt;
    memcpy(gcm->iv, iv, sizeof gcm->iv);
    gcm->ctx = context_new(key.len == 16 ? "AES-128-GCM" : "AES-256-GCM", encrypt, key.data, iv);
    if (gcm->ctx == NULL) {
        mssh_gcm_free(gcm);
        return NULL;
    }
    return gcm;
}

void mssh_gcm_free(mssh_gcm *gcm)
{
    if (gcm == NULL)
        return;
    EVP_CIPHER_CTX_free(gcm->ctx);
    OPENSSL_clear_free(gcm, sizeof *gcm);
}

/* The invocation counter is the last 8 bytes; the carry goes through all of them and no further. */
static void next_iv(mssh_gcm *gcm)
{
    gcm->used++;
    for (size_t i = MSSH_GCM_IV_LEN; i-- > 4;)
        if (++gcm->iv[i] != 0)
            break;
}

/* Everything of a packet but its tag. */
static int gcm_crypt(mssh_gcm *gcm, const uint8_t *aad, uint8_t *text, size_t len)
{
    int done = 0;

    if (EVP_CipherInit_ex(gcm->ctx, NULL, NULL, NULL, gcm->iv, -1) != 1)
        return MSSH_ERR_UNSUPPORTED;
    if (aad != NULL && (EVP_CipherUpdate(gcm->ctx, NULL, &done, aad, 4) != 1 || done != 4))
        return MSSH_ERR_UNSUPPORTED;
    return update(gcm->ctx, text, len);
}

int mssh_gcm_seal(mssh_gcm *gcm, const uint8_t *aad, uint8_t *text, size_t len, uint8_t *tag)
{
    uint8_t rest[EVP_MAX_BLOCK_LENGTH];
    int done = 0;

    if (!gcm->encrypt)
        return MSSH_ERR_STATE;
    if (gcm_crypt(gcm, aad, text, len) != 0 || EVP_EncryptFinal_ex(gcm->ctx, rest, &done) != 1 || done != 0 ||
        EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_GET_TAG, MSSH_GCM_TAG_LEN, tag) != 1)
        return MSSH_ERR_UNSUPPORTED;
    next_iv(gcm);
    return 0;
}

int mssh_gcm_open(mssh_gcm *gcm, const uint8_t *aad, uint8_t *text, size_t len, const uint8_t *tag)
{
    uint8_t rest[EVP_MAX_BLOCK_LENGTH];
    uint8_t expected[MSSH_GCM_TAG_LEN];
    int done = 0;

    if (gcm->encrypt)
        return MSSH_ERR_STATE;
    if (gcm_crypt(gcm, aad, text, len) != 0)
        return MSSH_ERR_UNSUPPORTED;
    memcpy(expected, tag, sizeof expected);
    if (EVP_CIPHER_CTX_ctrl(gcm->ctx, EVP_CTRL_AEAD_SET_TAG, MSSH_GCM_TAG_LEN, expected) != 1)
        return MSSH_ERR_UNSUPPORTED;
    /* 1 alone means that the tag matched: 0 and negative results are both failures. */
    if (EVP_DecryptFinal_ex(gcm->ctx, rest, &done) != 1)
        return MSSH_ERR_MAC;
    next_iv(gcm);
    return 0;
}

int mssh_gcm_open_unverified(mssh_gcm *gcm, uint8_t *text, size_t len)
{
    if (gcm->encrypt)
        return MSSH_ERR_STATE;
    if (gcm_crypt(gcm, NULL, text, len) != 0)
        return MSSH_ERR_UNSUPPORTED;
    next_iv(gcm);
    return 0;
}

uint64_t mssh_gcm_invocations_left(const mssh_gcm *gcm)
{
    return UINT64_MAX - gcm->used;
}
