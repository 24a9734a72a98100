#include "crypto/equal.h"

#include <openssl/crypto.h>

bool mssh_equal_ct(const void *a, const void *b, size_t len)
{
    return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}
