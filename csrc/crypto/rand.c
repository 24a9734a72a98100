#include "crypto/rand.h"

#include "base/error.h"

#include <limits.h>
#include <openssl/rand.h>

int mssh_rand_bytes(uint8_t *out, size_t len)
{
    if (len > INT_MAX || RAND_bytes(out, (int)len) != 1)
        return MSSH_ERR_UNSUPPORTED;
    return 0;
}
