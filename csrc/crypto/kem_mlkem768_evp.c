/* ML-KEM-768 from OpenSSL, which has it from 3.5 on. Nothing here needs its headers: all goes by name. */
#include "crypto/kem_pq.h"

#include "base/error.h"

#include <openssl/err.h>
#include <openssl/evp.h>

static const char name[] = "ML-KEM-768";

const mssh_pq_ops *mssh_mlkem768_ops(void)
{
    EVP_KEM *kem;

    ERR_set_mark();
    kem = EVP_KEM_fetch(NULL, name, NULL);
    (void)ERR_pop_to_mark();
    EVP_KEM_free(kem);
    return kem != NULL ? &mssh_mlkem768_evp_ops : &mssh_mlkem768_own_ops;
}

static int keypair(mssh_mem *mem, void **key, uint8_t *public_value)
{
    size_t len = MSSH_MLKEM_PUBLIC_LEN;
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, name);

    (void)mem;
    if (pair == NULL || EVP_PKEY_get_raw_public_key(pair, public_value, &len) != 1 ||
        len != MSSH_MLKEM_PUBLIC_LEN) {
        EVP_PKEY_free(pair);
        return MSSH_ERR_UNSUPPORTED;
    }
    *key = pair;
    return 0;
}

static int encapsulate(mssh_mem *mem, const uint8_t *public_value, uint8_t *ciphertext, uint8_t *secret)
{
    size_t ciphertext_len = MSSH_MLKEM_CIPHERTEXT_LEN;
    size_t secret_len = MSSH_PQ_SECRET_LEN;
    int rc = MSSH_ERR_PROTOCOL;
    EVP_PKEY_CTX *ctx = NULL;
    EVP_PKEY *key;

    (void)mem;
    ERR_set_mark();
    /* Taking the key makes the modulus check. */
    key = EVP_PKEY_new_raw_public_key_ex(NULL, name, NULL, public_value, MSSH_MLKEM_PUBLIC_LEN);
    if (key == NULL)
        goto out;
    rc = MSSH_ERR_UNSUPPORTED;
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (ctx != NULL && EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
        EVP_PKEY_encapsulate(ctx, ciphertext, &ciphertext_len, secret, &secret_len) == 1 &&
        ciphertext_len == MSSH_MLKEM_CIPHERTEXT_LEN && secret_len == MSSH_PQ_SECRET_LEN)
        rc = 0;
out:
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    (void)ERR_pop_to_mark();
    return rc;
}

static int decapsulate(mssh_mem *mem, const void *private_half, const uint8_t *ciphertext, uint8_t *secret)
{
    EVP_PKEY *key = (EVP_PKEY *)(uintptr_t)private_half; /* OpenSSL counts its users in it */
    size_t len = MSSH_PQ_SECRET_LEN;
    int rc = MSSH_ERR_UNSUPPORTED;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);

    (void)mem;
    if (ctx != NULL && EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
        EVP_PKEY_decapsulate(ctx, secret, &len, ciphertext, MSSH_MLKEM_CIPHERTEXT_LEN) == 1 &&
        len == MSSH_PQ_SECRET_LEN)
        rc = 0;
    EVP_PKEY_CTX_free(ctx);
    return rc;
}

static void free_key(mssh_mem *mem, void *key)
{
    (void)mem;
    EVP_PKEY_free(key);
}

const mssh_pq_ops mssh_mlkem768_evp_ops = {
    MSSH_MLKEM_PUBLIC_LEN, MSSH_MLKEM_CIPHERTEXT_LEN, keypair, encapsulate, decapsulate, free_key};
