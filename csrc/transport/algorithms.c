#include "transport/algorithms.h"

#include "wire/writer.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static const mssh_kex_row kex_rows[] = {
    {{"mlkem768x25519-sha256", true}, MSSH_FLOW_BASIC, MSSH_KEM_MLKEM768_X25519, MSSH_HASH_SHA256, true},
    {{"sntrup761x25519-sha512", true}, MSSH_FLOW_BASIC, MSSH_KEM_SNTRUP761_X25519, MSSH_HASH_SHA512, true},
    {{"sntrup761x25519-sha512@openssh.com", true},
     MSSH_FLOW_BASIC,
     MSSH_KEM_SNTRUP761_X25519,
     MSSH_HASH_SHA512,
     true},
    {{"curve25519-sha256", true}, MSSH_FLOW_BASIC, MSSH_KEM_X25519, MSSH_HASH_SHA256, false},
    {{"curve25519-sha256@libssh.org", true}, MSSH_FLOW_BASIC, MSSH_KEM_X25519, MSSH_HASH_SHA256, false},
    {{"ecdh-sha2-nistp256", true}, MSSH_FLOW_BASIC, MSSH_KEM_P256, MSSH_HASH_SHA256, false},
    {{"ecdh-sha2-nistp384", true}, MSSH_FLOW_BASIC, MSSH_KEM_P384, MSSH_HASH_SHA384, false},
    {{"ecdh-sha2-nistp521", true}, MSSH_FLOW_BASIC, MSSH_KEM_P521, MSSH_HASH_SHA512, false},
    {{"diffie-hellman-group16-sha512", true}, MSSH_FLOW_BASIC, MSSH_KEM_DH16, MSSH_HASH_SHA512, false},
    {{"diffie-hellman-group18-sha512", true}, MSSH_FLOW_BASIC, MSSH_KEM_DH18, MSSH_HASH_SHA512, false},
    {{"diffie-hellman-group14-sha256", true}, MSSH_FLOW_BASIC, MSSH_KEM_DH14, MSSH_HASH_SHA256, false},
    {{"diffie-hellman-group-exchange-sha256", true},
     MSSH_FLOW_GEX,
     MSSH_KEM_DH_GROUP,
     MSSH_HASH_SHA256,
     false},
    {{"diffie-hellman-group15-sha512", false}, MSSH_FLOW_BASIC, MSSH_KEM_DH15, MSSH_HASH_SHA512, false},
    {{"diffie-hellman-group17-sha512", false}, MSSH_FLOW_BASIC, MSSH_KEM_DH17, MSSH_HASH_SHA512, false},
    {{"diffie-hellman-group14-sha1", false}, MSSH_FLOW_BASIC, MSSH_KEM_DH14, MSSH_HASH_SHA1, false},
    {{"diffie-hellman-group-exchange-sha1", false}, MSSH_FLOW_GEX, MSSH_KEM_DH_GROUP, MSSH_HASH_SHA1, false},
    {{"diffie-hellman-group1-sha1", false}, MSSH_FLOW_BASIC, MSSH_KEM_DH1, MSSH_HASH_SHA1, false},
};

/* Certificates are for hosts whose authority is known: who knows it names them. */
static const mssh_host_key_row host_key_rows[] = {
    {{"ssh-ed25519", true}},
    {{"ecdsa-sha2-nistp256", true}},
    {{"ecdsa-sha2-nistp384", true}},
    {{"ecdsa-sha2-nistp521", true}},
    {{"sk-ssh-ed25519@openssh.com", true}},
    {{"sk-ecdsa-sha2-nistp256@openssh.com", true}},
    {{"rsa-sha2-512", true}},
    {{"rsa-sha2-256", true}},
    {{"ssh-ed25519-cert-v01@openssh.com", false}},
    {{"ecdsa-sha2-nistp256-cert-v01@openssh.com", false}},
    {{"ecdsa-sha2-nistp384-cert-v01@openssh.com", false}},
    {{"ecdsa-sha2-nistp521-cert-v01@openssh.com", false}},
    {{"sk-ssh-ed25519-cert-v01@openssh.com", false}},
    {{"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", false}},
    {{"rsa-sha2-512-cert-v01@openssh.com", false}},
    {{"rsa-sha2-256-cert-v01@openssh.com", false}},
    {{"ssh-rsa", false}},
    {{"ssh-dss", false}},
};

/* The order for processors with AES instructions. On others the row of CHACHA_ROW comes first. */
static const mssh_cipher_row cipher_rows[] = {
    {{"aes128-gcm@openssh.com", true}, MSSH_SEAL_GCM, 0, 16, 12, 16, 128, false},
    {{"aes256-gcm@openssh.com", true}, MSSH_SEAL_GCM, 0, 32, 12, 16, 256, false},
    {{"chacha20-poly1305@openssh.com", true}, MSSH_SEAL_CHACHA, 0, 64, 0, 8, 256, false},
    {{"aes128-ctr", true}, MSSH_SEAL_MAC, MSSH_CIPHER_AES128_CTR, 16, 16, 16, 128, false},
    {{"aes192-ctr", true}, MSSH_SEAL_MAC, MSSH_CIPHER_AES192_CTR, 24, 16, 16, 192, false},
    {{"aes256-ctr", true}, MSSH_SEAL_MAC, MSSH_CIPHER_AES256_CTR, 32, 16, 16, 256, false},
    {{"aes128-cbc", false}, MSSH_SEAL_MAC, MSSH_CIPHER_AES128_CBC, 16, 16, 16, 128, true},
    {{"aes192-cbc", false}, MSSH_SEAL_MAC, MSSH_CIPHER_AES192_CBC, 24, 16, 16, 192, true},
    {{"aes256-cbc", false}, MSSH_SEAL_MAC, MSSH_CIPHER_AES256_CBC, 32, 16, 16, 256, true},
    {{"3des-cbc", false}, MSSH_SEAL_MAC, MSSH_CIPHER_3DES_CBC, 24, 8, 8, 112, true},
};

enum { CHACHA_ROW = 2 };

#define ETM(name) name "-etm@openssh.com"

/* Behind the defaults UMAC, then what old peers have. */
static const mssh_mac_row mac_rows[] = {
    {{ETM("hmac-sha2-256"), true}, MSSH_HASH_SHA256, 32, 32, true, false},
    {{ETM("hmac-sha2-512"), true}, MSSH_HASH_SHA512, 64, 64, true, false},
    {{"hmac-sha2-256", true}, MSSH_HASH_SHA256, 32, 32, false, false},
    {{"hmac-sha2-512", true}, MSSH_HASH_SHA512, 64, 64, false, false},
    {{ETM("umac-128"), false}, 0, 16, 16, true, true},
    {{"umac-128@openssh.com", false}, 0, 16, 16, false, true},
    {{ETM("umac-64"), false}, 0, 16, 8, true, true},
    {{"umac-64@openssh.com", false}, 0, 16, 8, false, true},
    {{ETM("hmac-sha1"), false}, MSSH_HASH_SHA1, 20, 20, true, false},
    {{"hmac-sha1", false}, MSSH_HASH_SHA1, 20, 20, false, false},
    {{ETM("hmac-sha1-96"), false}, MSSH_HASH_SHA1, 20, 12, true, false},
    {{"hmac-sha1-96", false}, MSSH_HASH_SHA1, 20, 12, false, false},
    {{ETM("hmac-md5"), false}, MSSH_HASH_MD5, 16, 16, true, false},
    {{"hmac-md5", false}, MSSH_HASH_MD5, 16, 16, false, false},
    {{ETM("hmac-md5-96"), false}, MSSH_HASH_MD5, 16, 12, true, false},
    {{"hmac-md5-96", false}, MSSH_HASH_MD5, 16, 12, false, false},
};

/* "zlib" would let a peer that is not authenticated yet reach the decompressor: only if it is named. */
static const mssh_compression_row compression_rows[] = {
    {{"none", true}, MSSH_COMPRESS_NEVER},
    {{"zlib@openssh.com", true}, MSSH_COMPRESS_AFTER_AUTH},
    {{"zlib", false}, MSSH_COMPRESS_AT_ONCE},
};

static const struct {
    const char *name;
    const void *rows;
    size_t row_size;
    size_t n_rows;
} classes[MSSH_N_ALG_CLASSES] = {
#define CLASS(name, rows)                                                                                    \
    {                                                                                                        \
        (name), (rows), sizeof(rows)[0], sizeof(rows) / sizeof(rows)[0]                                      \
    }
    CLASS("kex", kex_rows), CLASS("host_key", host_key_rows),       CLASS("cipher", cipher_rows),
    CLASS("mac", mac_rows), CLASS("compression", compression_rows),
#undef CLASS
};

static bool has_aes_instructions(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__) && defined(__linux__)
    return (getauxval(AT_HWCAP) & 1UL << 3) != 0 && (getauxval(AT_HWCAP) & 1UL << 4) != 0; /* AES, PMULL */
#elif defined(__aarch64__) && defined(__APPLE__)
    return true;
#else
    return false;
#endif
}

/* Place in the table of the i-th cipher in order of preference: on a processor without AES instructions
 * chacha20 changes places with those before it. */
static size_t cipher_place(size_t i)
{
    if (i > CHACHA_ROW || has_aes_instructions())
        return i;
    return i == 0 ? CHACHA_ROW : i - 1;
}

static const mssh_algorithm *row_at(mssh_algorithm_class cls, size_t i)
{
    if (i >= classes[cls].n_rows)
        return NULL;
    if (cls == MSSH_ALG_CIPHER)
        i = cipher_place(i);
    return (const mssh_algorithm *)(const void *)((const char *)classes[cls].rows +
                                                  i * classes[cls].row_size);
}

/* Whether this OpenSSL can do it. What is offered by default it always can; the rest a build or a provider
 * that holds to FIPS may lack. */
static bool is_available(mssh_algorithm_class cls, const mssh_algorithm *row)
{
    const void *whole = row;
    const mssh_mac_row *mac = whole;
    const mssh_cipher_row *cipher = whole;

    if (row->is_default)
        return true;
    switch (cls) {
    case MSSH_ALG_KEX:
        return mssh_hash_is_available(((const mssh_kex_row *)whole)->hash);
    case MSSH_ALG_CIPHER:
        return mssh_cipher_is_available(cipher->id);
    case MSSH_ALG_HOST_KEY:
        return mssh_hash_is_available(mssh_sig_algorithm_find(mssh_slice_of_text(row->name))->hash);
    case MSSH_ALG_MAC:
        return mac->umac ? mssh_cipher_is_available(MSSH_CIPHER_AES128_ECB)
                         : mssh_hash_is_available(mac->hash);
    default:
        return true;
    }
}

const mssh_algorithm *mssh_algorithm_find(mssh_algorithm_class cls, mssh_slice name)
{
    const mssh_algorithm *row;
    for (size_t i = 0; (row = row_at(cls, i)) != NULL; i++)
        if (mssh_slice_is(name, row->name))
            return is_available(cls, row) ? row : NULL;
    return NULL;
}

const char *mssh_algorithm_at(mssh_algorithm_class cls, size_t i, bool *is_default)
{
    const mssh_algorithm *row;
    if ((unsigned)cls >= MSSH_N_ALG_CLASSES)
        return NULL;
    for (size_t at = 0; (row = row_at(cls, at)) != NULL; at++)
        if (is_available(cls, row) && i-- == 0)
            break;
    if (row == NULL)
        return NULL;
    *is_default = row->is_default;
    return row->name;
}

const char *mssh_algorithm_class_name(mssh_algorithm_class cls)
{
    return classes[cls].name;
}

int mssh_algorithm_write_defaults(mssh_algorithm_class cls, mssh_buf *buf)
{
    const mssh_algorithm *row;
    for (size_t i = 0; (row = row_at(cls, i)) != NULL; i++) {
        if (!row->is_default)
            continue;
        if (mssh_buf_len(buf) > 0)
            mssh_write_u8(buf, ',');
        mssh_write_bytes(buf, mssh_slice_of_text(row->name));
    }
    return buf->error;
}

mssh_hazard mssh_algorithm_hazard(const mssh_cipher_row *cipher, const mssh_mac_row *mac)
{
    if (cipher->kind == MSSH_SEAL_CHACHA)
        return MSSH_HAZARD_CHACHA;
    return cipher->chained && mac != NULL && mac->etm ? MSSH_HAZARD_CBC_ETM : MSSH_HAZARD_NONE;
}
