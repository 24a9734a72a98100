#include "keys/base64.h"
#include "keys/key.h"

#include <stdio.h>

/* A digest of 32 bytes leaves one padding character at the end of its base64, which is not printed. */
enum { BASE64_LEN = 44, SHA256_LEN = 32, MD5_LEN = 16 };

static int write_sha256(mssh_slice digest, char *out, size_t size)
{
    uint8_t storage[BASE64_LEN];
    mssh_buf text = {.data = storage, .cap = sizeof storage, .max = sizeof storage};

    mssh_base64_encode(digest, &text);
    if (text.error != 0 || size < 7 + BASE64_LEN)
        return MSSH_ERR_LIMIT;
    memcpy(out, "SHA256:", 7);
    memcpy(out + 7, storage, BASE64_LEN - 1);
    out[7 + BASE64_LEN - 1] = '\0';
    return 0;
}

static int write_md5(mssh_slice digest, char *out, size_t size)
{
    size_t at = 4;

    if (size < 4 + 3 * MD5_LEN)
        return MSSH_ERR_LIMIT;
    memcpy(out, "MD5:", 4);
    for (size_t i = 0; i < digest.len; i++, at += 3)
        (void)snprintf(out + at, size - at, i + 1 < digest.len ? "%02x:" : "%02x", digest.data[i]);
    return 0;
}

int mssh_key_fingerprint(mssh_slice blob, mssh_hash_id hash, char *out, size_t size)
{
    uint8_t digest[MSSH_HASH_MAX];
    int rc;

    if (hash != MSSH_HASH_SHA256 && hash != MSSH_HASH_MD5)
        return MSSH_ERR_UNSUPPORTED;
    rc = mssh_hash(hash, &blob, 1, digest);
    if (rc != 0)
        return rc;
    if (hash == MSSH_HASH_MD5)
        return write_md5(mssh_slice_of(digest, MD5_LEN), out, size);
    return write_sha256(mssh_slice_of(digest, SHA256_LEN), out, size);
}
