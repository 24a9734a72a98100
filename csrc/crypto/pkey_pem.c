/* Private keys in PEM: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017), SEC1 (RFC 5915). */
#include "crypto/pkey_ops.h"

#include "base/error.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

/* Most work that a file's key derivation may ask for: PBKDF2 iterations, and scrypt's N * r * p. */
enum { PBKDF_MAX = 5000000, SCRYPT_MAX = 1 << 22 };

typedef struct pem_block {
    char *name;
    char *header;
    unsigned char *data;
    long size; /* allocated */
    long len;  /* used: decryption makes it shorter */
} pem_block;

/* OpenSSL asks for the passphrase through this. */
static int give_passphrase(char *out, int size, int writing, void *ud)
{
    const mssh_slice *passphrase = ud;

    (void)writing;
    if (passphrase->data == NULL || size < 0 || passphrase->len > (size_t)size)
        return -1;
    memcpy(out, passphrase->data, passphrase->len);
    return (int)passphrase->len;
}

static int64_t value_of(const ASN1_INTEGER *integer)
{
    int64_t value = 0;
    return integer != NULL && ASN1_INTEGER_get_int64(&value, integer) == 1 && value >= 0 ? value : INT64_MAX;
}

static bool scrypt_is_costly(const X509_ALGOR *algorithm)
{
    SCRYPT_PARAMS *params = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(SCRYPT_PARAMS), algorithm->parameter);
    bool costly = true;

    if (params != NULL) {
        int64_t n = value_of(params->costParameter);
        int64_t r = value_of(params->blockSize);
        int64_t p = value_of(params->parallelizationParameter);
        costly = n > SCRYPT_MAX || r > SCRYPT_MAX || p > SCRYPT_MAX || r * p > SCRYPT_MAX ||
                 n * r * p > SCRYPT_MAX;
    }
    SCRYPT_PARAMS_free(params);
    return costly;
}

static bool pbkdf2_is_costly(const X509_ALGOR *algorithm)
{
    PBKDF2PARAM *params = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), algorithm->parameter);
    bool costly = params != NULL && value_of(params->iter) > PBKDF_MAX;

    PBKDF2PARAM_free(params);
    return costly;
}

static bool pbes1_is_costly(const X509_ALGOR *algorithm)
{
    PBEPARAM *params = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);
    bool costly = params != NULL && value_of(params->iter) > PBKDF_MAX;

    PBEPARAM_free(params);
    return costly;
}

/* Whether the key derivation would take too long. OpenSSL itself has no bound. */
static bool is_costly(const X509_ALGOR *algorithm)
{
    PBE2PARAM *params;
    bool costly = false;

    if (OBJ_obj2nid(algorithm->algorithm) != NID_pbes2)
        return pbes1_is_costly(algorithm);
    params = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
    if (params != NULL) {
        int kdf = OBJ_obj2nid(params->keyfunc->algorithm);
        if (kdf == NID_id_pbkdf2)
            costly = pbkdf2_is_costly(params->keyfunc);
        else if (kdf == NID_id_scrypt)
            costly = scrypt_is_costly(params->keyfunc);
    }
    PBE2PARAM_free(params);
    return costly;
}

static int read_pkcs8(const pem_block *block, EVP_PKEY **evp)
{
    const unsigned char *at = block->data;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, block->len);
    int rc = MSSH_ERR_KEY_FORMAT;

    if (info != NULL && at == block->data + block->len) {
        *evp = EVP_PKCS82PKEY(info);
        rc = *evp != NULL ? 0 : MSSH_ERR_KEY_FORMAT;
    }
    PKCS8_PRIV_KEY_INFO_free(info);
    return rc;
}

static int read_encrypted_pkcs8(const pem_block *block, mssh_slice passphrase, EVP_PKEY **evp)
{
    const unsigned char *at = block->data;
    const X509_ALGOR *algorithm = NULL;
    PKCS8_PRIV_KEY_INFO *info = NULL;
    X509_SIG *sealed = d2i_X509_SIG(NULL, &at, block->len);
    int rc = MSSH_ERR_KEY_FORMAT;

    if (sealed == NULL || at != block->data + block->len)
        goto out;
    X509_SIG_get0(sealed, &algorithm, NULL);
    if (is_costly(algorithm)) {
        rc = MSSH_ERR_LIMIT;
        goto out;
    }
    rc = MSSH_ERR_PASSPHRASE;
    if (passphrase.data == NULL)
        goto out;
    info = PKCS8_decrypt(sealed, (const char *)passphrase.data, (int)passphrase.len);
    if (info == NULL)
        goto out;
    *evp = EVP_PKCS82PKEY(info);
    rc = *evp != NULL ? 0 : MSSH_ERR_KEY_FORMAT;
out:
    PKCS8_PRIV_KEY_INFO_free(info);
    X509_SIG_free(sealed);
    return rc;
}

/* PKCS#1 and SEC1, of the type that the label names. */
static int read_traditional(pem_block *block, int type, mssh_slice passphrase, EVP_PKEY **evp)
{
    EVP_CIPHER_INFO info;
    const unsigned char *at = block->data;
    bool encrypted;

    memset(&info, 0, sizeof info);
    if (PEM_get_EVP_CIPHER_INFO(block->header, &info) != 1)
        return MSSH_ERR_UNSUPPORTED;
    encrypted = info.cipher != NULL;
    if (encrypted && PEM_do_header(&info, block->data, &block->len, give_passphrase, &passphrase) != 1)
        return MSSH_ERR_PASSPHRASE;
    *evp = d2i_PrivateKey(type, NULL, &at, block->len);
    if (*evp != NULL && at == block->data + block->len)
        return 0;
    /* One wrong passphrase in 256 leaves what looks like padding. */
    return encrypted ? MSSH_ERR_PASSPHRASE : MSSH_ERR_KEY_FORMAT;
}

static int read_block(pem_block *block, mssh_slice passphrase, EVP_PKEY **evp)
{
    mssh_slice label = mssh_slice_of_text(block->name);

    if (mssh_slice_is(label, "ENCRYPTED PRIVATE KEY"))
        return read_encrypted_pkcs8(block, passphrase, evp);
    if (mssh_slice_is(label, "PRIVATE KEY"))
        return read_pkcs8(block, evp);
    if (mssh_slice_is(label, "RSA PRIVATE KEY"))
        return read_traditional(block, EVP_PKEY_RSA, passphrase, evp);
    if (mssh_slice_is(label, "EC PRIVATE KEY"))
        return read_traditional(block, EVP_PKEY_EC, passphrase, evp);
    return MSSH_ERR_UNSUPPORTED;
}

int mssh_pkey_from_pem(mssh_mem *mem, mssh_slice text, mssh_slice passphrase, mssh_pkey **key)
{
    pem_block block = {NULL, NULL, NULL, 0, 0};
    EVP_PKEY *evp = NULL;
    BIO *bio = NULL;
    int rc = MSSH_ERR_KEY_FORMAT;

    if (text.len == 0 || text.len > INT_MAX || passphrase.len > INT_MAX)
        return rc;
    ERR_set_mark();
    bio = BIO_new_mem_buf(text.data, (int)text.len);
    if (bio == NULL || PEM_read_bio(bio, &block.name, &block.header, &block.data, &block.len) != 1)
        goto out;
    block.size = block.len;
    rc = read_block(&block, passphrase, &evp);
    if (rc == 0)
        rc = mssh_pkey_import(mem, evp, key);
out:
    EVP_PKEY_free(evp);
    OPENSSL_free(block.name);
    OPENSSL_free(block.header);
    OPENSSL_clear_free(block.data, (size_t)block.size);
    BIO_free(bio);
    (void)ERR_pop_to_mark();
    return rc;
}
