#include "crypto/keccak.h"

#include "base/error.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

struct mssh_keccak {
    EVP_MD_CTX *ctx;
    EVP_MD *functions[MSSH_N_KECCAK];
};

static const char *const names[] = {
    [MSSH_SHA3_256] = "SHA3-256",
    [MSSH_SHA3_512] = "SHA3-512",
    [MSSH_SHAKE128] = "SHAKE128",
    [MSSH_SHAKE256] = "SHAKE256",
};

mssh_keccak *mssh_keccak_new(void)
{
    mssh_keccak *keccak = OPENSSL_zalloc(sizeof *keccak);
    bool good;

    if (keccak == NULL)
        return NULL;
    keccak->ctx = EVP_MD_CTX_new();
    good = keccak->ctx != NULL;
    for (int i = 0; i < MSSH_N_KECCAK; i++) {
        keccak->functions[i] = EVP_MD_fetch(NULL, names[i], NULL);
        good = good && keccak->functions[i] != NULL;
    }
    if (!good) {
        mssh_keccak_free(keccak);
        return NULL;
    }
    return keccak;
}

void mssh_keccak_free(mssh_keccak *keccak)
{
    if (keccak == NULL)
        return;
    EVP_MD_CTX_free(keccak->ctx);
    for (int i = 0; i < MSSH_N_KECCAK; i++)
        EVP_MD_free(keccak->functions[i]);
    OPENSSL_free(keccak);
}

int mssh_keccak_hash(mssh_keccak *keccak, mssh_keccak_id id, const mssh_slice parts[2], uint8_t *out,
                     size_t len)
{
    bool extends = id == MSSH_SHAKE128 || id == MSSH_SHAKE256;
    unsigned digest_len = 0;

    if (!extends && (size_t)EVP_MD_get_size(keccak->functions[id]) != len)
        return MSSH_ERR_UNSUPPORTED;
    if (EVP_DigestInit_ex2(keccak->ctx, keccak->functions[id], NULL) != 1 ||
        EVP_DigestUpdate(keccak->ctx, parts[0].data, parts[0].len) != 1 ||
        EVP_DigestUpdate(keccak->ctx, parts[1].data, parts[1].len) != 1)
        return MSSH_ERR_UNSUPPORTED;
    if (extends)
        return EVP_DigestFinalXOF(keccak->ctx, out, len) == 1 ? 0 : MSSH_ERR_UNSUPPORTED;
    if (EVP_DigestFinal_ex(keccak->ctx, out, &digest_len) != 1 || digest_len != len)
        return MSSH_ERR_UNSUPPORTED;
    return 0;
}
