#include "crypto/hash.h"

#include "base/error.h"
#include "base/mem.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

typedef struct hash_row {
    const char *name; /* OpenSSL's */
    size_t len;
} hash_row;

static const hash_row rows[] = {
    [MSSH_HASH_MD5] = {"MD5", 16},       [MSSH_HASH_SHA1] = {"SHA1", 20},
    [MSSH_HASH_SHA256] = {"SHA256", 32}, [MSSH_HASH_SHA384] = {"SHA384", 48},
    [MSSH_HASH_SHA512] = {"SHA512", 64},
};

struct mssh_hmac {
    EVP_MAC_CTX *ctx;
    size_t len;
};

size_t mssh_hash_len(mssh_hash_id id)
{
    return rows[id].len;
}

const char *mssh_hash_name(mssh_hash_id id)
{
    return rows[id].name;
}

bool mssh_hash_is_available(mssh_hash_id id)
{
    EVP_MD *md;

    ERR_set_mark();
    md = EVP_MD_fetch(NULL, rows[id].name, NULL);
    (void)ERR_pop_to_mark();
    EVP_MD_free(md);
    return md != NULL;
}

int mssh_hash(mssh_hash_id id, const mssh_slice *parts, size_t n_parts, uint8_t *out)
{
    int rc = MSSH_ERR_UNSUPPORTED;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD *md = EVP_MD_fetch(NULL, rows[id].name, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (md == NULL || ctx == NULL || EVP_DigestInit_ex2(ctx, md, NULL) != 1)
        goto out;
    for (size_t i = 0; i < n_parts; i++)
        if (EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) != 1)
            goto out;
    if (EVP_DigestFinal_ex(ctx, digest, &len) != 1 || len != rows[id].len)
        goto out;
    memcpy(out, digest, len);
    rc = 0;
out:
    mssh_wipe(digest, sizeof digest);
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return rc;
}

mssh_hmac *mssh_hmac_new(mssh_hash_id id, mssh_slice key)
{
    static const uint8_t empty_key = 0;
    OSSL_PARAM params[2];
    char digest[16];
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    mssh_hmac *hmac = OPENSSL_zalloc(sizeof *hmac);

    memcpy(digest, rows[id].name, strlen(rows[id].name) + 1);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[1] = OSSL_PARAM_construct_end();
    if (mac != NULL && hmac != NULL)
        hmac->ctx = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    if (hmac == NULL || hmac->ctx == NULL)
        goto out;
    hmac->len = rows[id].len;
    /* A null key would mean "as before" to OpenSSL. */
    if (EVP_MAC_init(hmac->ctx, key.data != NULL ? key.data : &empty_key, key.len, params) != 1)
        goto out;
    return hmac;
out:
    mssh_hmac_free(hmac);
    return NULL;
}

void mssh_hmac_free(mssh_hmac *hmac)
{
    if (hmac == NULL)
        return;
    EVP_MAC_CTX_free(hmac->ctx);
    OPENSSL_free(hmac);
}

int mssh_hmac_compute(mssh_hmac *hmac, const mssh_slice *parts, size_t n_parts, uint8_t *out)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    size_t len = 0;

    /* Without a key it starts over from the state that the key left, which is cheap. */
    if (EVP_MAC_init(hmac->ctx, NULL, 0, NULL) != 1)
        return MSSH_ERR_UNSUPPORTED;
    for (size_t i = 0; i < n_parts; i++)
        if (EVP_MAC_update(hmac->ctx, parts[i].data, parts[i].len) != 1)
            return MSSH_ERR_UNSUPPORTED;
    if (EVP_MAC_final(hmac->ctx, mac, &len, sizeof mac) != 1 || len != hmac->len)
        return MSSH_ERR_UNSUPPORTED;
    memcpy(out, mac, len);
    return 0;
}
