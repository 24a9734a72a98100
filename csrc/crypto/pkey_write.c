/* Private keys to PEM: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017), SEC1 (RFC 5915). */
#include "crypto/pkey_ops.h"

#include "base/error.h"
#include "crypto/rand.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>

/* What an encrypted file costs to open: a tenth of a second, where OpenSSL's own default is a fiftieth of
 * that. */
enum { PBKDF_WRITTEN = 100000, SALT_LEN = 16 };

/* PBES2 with PBKDF2-HMAC-SHA256 and AES-256-CBC. */
static int write_encrypted_pkcs8(BIO *bio, PKCS8_PRIV_KEY_INFO *info, mssh_slice passphrase)
{
    uint8_t salt[SALT_LEN];
    X509_SIG *sealed;
    int rc = mssh_rand_bytes(salt, sizeof salt);

    if (rc != 0)
        return rc;
    sealed = PKCS8_encrypt(-1, EVP_aes_256_cbc(), (const char *)passphrase.data, (int)passphrase.len, salt,
                           sizeof salt, PBKDF_WRITTEN, info);
    rc = sealed != NULL && PEM_write_bio_PKCS8(bio, sealed) == 1 ? 0 : MSSH_ERR_UNSUPPORTED;
    X509_SIG_free(sealed);
    return rc;
}

static int write_pkcs8(BIO *bio, const EVP_PKEY *evp, mssh_slice passphrase)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(evp);
    int rc = MSSH_ERR_UNSUPPORTED;

    if (info == NULL)
        return rc;
    if (passphrase.len > 0)
        rc = write_encrypted_pkcs8(bio, info, passphrase);
    else if (PEM_write_bio_PKCS8_PRIV_KEY_INFO(bio, info) == 1)
        rc = 0;
    PKCS8_PRIV_KEY_INFO_free(info);
    return rc;
}

/* As ssh-keygen -m PEM writes it: AES-128-CBC under a key that MD5 makes of the passphrase. */
static int write_traditional(BIO *bio, EVP_PKEY *evp, mssh_slice passphrase)
{
    const EVP_CIPHER *cipher = passphrase.len > 0 ? EVP_aes_128_cbc() : NULL;

    return PEM_write_bio_PrivateKey_traditional(bio, evp, cipher, passphrase.data, (int)passphrase.len, NULL,
                                                NULL) == 1
               ? 0
               : MSSH_ERR_UNSUPPORTED;
}

int mssh_pkey_write_pem(const mssh_pkey *key, mssh_pem_form form, mssh_slice passphrase, mssh_buf *out)
{
    BIO *bio;
    char *text = NULL;
    long len;
    int rc;

    if (!key->is_private)
        return MSSH_ERR_STATE;
    if (passphrase.len > INT_MAX || (form == MSSH_PEM_TRADITIONAL && key->kind == MSSH_PKEY_ED25519))
        return MSSH_ERR_UNSUPPORTED;
    bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        return MSSH_ERR_MEMORY;
    ERR_set_mark();
    rc = form == MSSH_PEM_TRADITIONAL ? write_traditional(bio, key->evp, passphrase)
                                      : write_pkcs8(bio, key->evp, passphrase);
    (void)ERR_pop_to_mark();
    if (rc == 0) {
        len = BIO_get_mem_data(bio, &text);
        rc = len > 0 ? mssh_buf_append(out, text, (size_t)len) : MSSH_ERR_MEMORY;
    }
    BIO_free(bio); /* which wipes its memory */
    return rc;
}
