/* Private keys in PEM: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017), SEC1 (RFC 5915), OpenSSL's DSA. */
#include "crypto/pkey_ops.h"

#include "base/error.h"

#include <limits.h>
#include <openssl/asn1.h>
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

/* The content of the DER element with this tag at *at, which moves behind it. False: there is none. */
static bool take_der(const unsigned char **at, const unsigned char *end, int tag, mssh_slice *content)
{
    long len = 0;
    int found = 0;
    int kind = 0;
    const unsigned char *start = *at;

    /* Bit 7 of the answer is set for what is out of form, bit 0 for an indefinite length. */
    if ((ASN1_get_object(&start, &len, &found, &kind, end - *at) & 0x81) != 0 || found != tag ||
        kind != V_ASN1_UNIVERSAL || len < 0 || len > end - start)
        return false;
    *content = mssh_slice_of(start, (size_t)len);
    *at = start + len;
    return true;
}

/* RSAPrivateKey (RFC 8017 A.1.2): version, n, e, d, p, q, d mod p-1, d mod q-1, q^-1 mod p. Read here because
 * OpenSSL's decoders leave copies of the primes in memory. */
static int read_rsa(const unsigned char *at, long len, mssh_pkey **key)
{
    static const uint8_t places[] = {0, 1, 2, 3, 4, 7, 7, 5};
    mssh_slice parts[8];
    mssh_slice body, version;
    const unsigned char *end = at + len;

    if (!take_der(&at, end, V_ASN1_SEQUENCE, &body) || at != end)
        return MSSH_ERR_KEY_FORMAT;
    at = body.data;
    end = body.data + body.len;
    if (!take_der(&at, end, V_ASN1_INTEGER, &version) || version.len != 1 || version.data[0] != 0)
        return MSSH_ERR_KEY_FORMAT;
    for (size_t i = 0; i < sizeof places; i++)
        if (!take_der(&at, end, V_ASN1_INTEGER, &parts[places[i]]) || parts[places[i]].len == 0 ||
            parts[places[i]].data[0] > 0x7f)
            return MSSH_ERR_KEY_FORMAT;
    return at == end ? mssh_pkey_new(MSSH_PKEY_RSA, parts, true, key) : MSSH_ERR_KEY_FORMAT;
}

/* The key of a PKCS#8 structure (adopted; NULL gives `otherwise`). */
static int take_pkcs8(mssh_mem *mem, PKCS8_PRIV_KEY_INFO *info, int otherwise, mssh_pkey **key)
{
    const ASN1_OBJECT *algorithm = NULL;
    const unsigned char *at = NULL;
    EVP_PKEY *evp = NULL;
    int len = 0;
    int rc = otherwise;

    if (info == NULL)
        return otherwise;
    if (PKCS8_pkey_get0(&algorithm, &at, &len, NULL, info) == 1 &&
        OBJ_obj2nid(algorithm) == NID_rsaEncryption) {
        rc = read_rsa(at, len, key);
    } else {
        evp = EVP_PKCS82PKEY(info);
        rc = evp != NULL ? mssh_pkey_import(mem, evp, key) : MSSH_ERR_KEY_FORMAT;
        EVP_PKEY_free(evp);
    }
    PKCS8_PRIV_KEY_INFO_free(info);
    return rc;
}

static int read_pkcs8(mssh_mem *mem, const pem_block *block, mssh_pkey **key)
{
    const unsigned char *at = block->data;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, block->len);

    if (info != NULL && at != block->data + block->len) {
        PKCS8_PRIV_KEY_INFO_free(info);
        info = NULL;
    }
    return take_pkcs8(mem, info, MSSH_ERR_KEY_FORMAT, key);
}

static int read_encrypted_pkcs8(mssh_mem *mem, const pem_block *block, mssh_slice passphrase, mssh_pkey **key)
{
    const unsigned char *at = block->data;
    const X509_ALGOR *algorithm = NULL;
    X509_SIG *sealed = d2i_X509_SIG(NULL, &at, block->len);
    int rc = MSSH_ERR_KEY_FORMAT;

    if (sealed == NULL || at != block->data + block->len)
        goto out;
    X509_SIG_get0(sealed, &algorithm, NULL);
    rc = MSSH_ERR_LIMIT;
    if (is_costly(algorithm))
        goto out;
    rc = MSSH_ERR_PASSPHRASE;
    if (passphrase.data != NULL)
        rc = take_pkcs8(mem, PKCS8_decrypt(sealed, (const char *)passphrase.data, (int)passphrase.len),
                        MSSH_ERR_PASSPHRASE, key);
out:
    X509_SIG_free(sealed);
    return rc;
}

/* PKCS#1, SEC1 and OpenSSL's DSA, of the type that the label names. */
static int read_traditional(mssh_mem *mem, pem_block *block, int type, mssh_slice passphrase, mssh_pkey **key)
{
    EVP_CIPHER_INFO info;
    const unsigned char *at = block->data;
    EVP_PKEY *evp;
    bool encrypted;
    int rc = MSSH_ERR_KEY_FORMAT;

    memset(&info, 0, sizeof info);
    if (PEM_get_EVP_CIPHER_INFO(block->header, &info) != 1)
        return MSSH_ERR_UNSUPPORTED;
    encrypted = info.cipher != NULL;
    if (encrypted && PEM_do_header(&info, block->data, &block->len, give_passphrase, &passphrase) != 1)
        return MSSH_ERR_PASSPHRASE;
    if (type == EVP_PKEY_RSA) {
        rc = read_rsa(block->data, block->len, key);
    } else {
        evp = d2i_PrivateKey(type, NULL, &at, block->len);
        if (evp != NULL && at == block->data + block->len)
            rc = mssh_pkey_import(mem, evp, key);
        EVP_PKEY_free(evp);
    }
    /* One wrong passphrase in 256 leaves what looks like padding. */
    return encrypted && rc == MSSH_ERR_KEY_FORMAT ? MSSH_ERR_PASSPHRASE : rc;
}

static int read_block(mssh_mem *mem, pem_block *block, mssh_slice passphrase, mssh_pkey **key)
{
    mssh_slice label = mssh_slice_of_text(block->name);

    if (mssh_slice_is(label, "ENCRYPTED PRIVATE KEY"))
        return read_encrypted_pkcs8(mem, block, passphrase, key);
    if (mssh_slice_is(label, "PRIVATE KEY"))
        return read_pkcs8(mem, block, key);
    if (mssh_slice_is(label, "RSA PRIVATE KEY"))
        return read_traditional(mem, block, EVP_PKEY_RSA, passphrase, key);
    if (mssh_slice_is(label, "EC PRIVATE KEY"))
        return read_traditional(mem, block, EVP_PKEY_EC, passphrase, key);
    if (mssh_slice_is(label, "DSA PRIVATE KEY"))
        return read_traditional(mem, block, EVP_PKEY_DSA, passphrase, key);
    return MSSH_ERR_UNSUPPORTED;
}

int mssh_pkey_from_pem(mssh_mem *mem, mssh_slice text, mssh_slice passphrase, mssh_pkey **key)
{
    pem_block block = {NULL, NULL, NULL, 0, 0};
    BIO *bio = NULL;
    int rc = MSSH_ERR_KEY_FORMAT;

    if (text.len == 0 || text.len > INT_MAX || passphrase.len > INT_MAX)
        return rc;
    ERR_set_mark();
    bio = BIO_new_mem_buf(text.data, (int)text.len);
    if (bio != NULL && PEM_read_bio(bio, &block.name, &block.header, &block.data, &block.len) == 1) {
        block.size = block.len;
        rc = read_block(mem, &block, passphrase, key);
    }
    OPENSSL_free(block.name);
    OPENSSL_free(block.header);
    OPENSSL_clear_free(block.data, (size_t)block.size);
    BIO_free(bio);
    (void)ERR_pop_to_mark();
    return rc;
}
