/* Whether a branch or an address in the post-quantum KEMs depends on a secret: valgrind is told that all
 * randomness, and all that is hashed, is undefined, and says where that decides anything. The hash functions
 * are stand-ins, so that OpenSSL's are not looked at. */
#include "crypto/hash.h"
#include "crypto/keccak.h"
#include "crypto/kem_pq.h"
#include "crypto/rand.h"

#include <stdio.h>
#include <stdlib.h>
#include <valgrind/memcheck.h>

static void make_secret(uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)rand();
    (void)VALGRIND_MAKE_MEM_UNDEFINED(out, len);
}

int mssh_rand_bytes(uint8_t *out, size_t len)
{
    make_secret(out, len);
    return 0;
}

struct mssh_keccak {
    int unused;
};

mssh_keccak *mssh_keccak_new(void)
{
    return calloc(1, sizeof(mssh_keccak));
}

void mssh_keccak_free(mssh_keccak *keccak)
{
    free(keccak);
}

/* SHAKE128 makes the matrix, which is public; the others make secrets. The same each time, so that what is
 * made again for a comparison comes out as it was. */
int mssh_keccak_hash(mssh_keccak *keccak, mssh_keccak_id id, const mssh_slice parts[2], uint8_t *out,
                     size_t len)
{
    (void)keccak;
    srand((unsigned)id + (unsigned)parts[1].len);
    make_secret(out, len);
    if (id == MSSH_SHAKE128)
        (void)VALGRIND_MAKE_MEM_DEFINED(out, len);
    return 0;
}

int mssh_hash(mssh_hash_id id, const mssh_slice *parts, size_t n_parts, uint8_t *out)
{
    (void)id;
    srand((unsigned)(parts[0].len + n_parts));
    make_secret(out, MSSH_HASH_MAX);
    return 0;
}

/* Both sides of an exchange, and a ciphertext that is rejected. What is on the wire is public. */
static int exchange(const mssh_pq_ops *ops)
{
    uint8_t public_value[MSSH_MLKEM_PUBLIC_LEN];
    uint8_t ciphertext[MSSH_MLKEM_CIPHERTEXT_LEN];
    uint8_t secret[MSSH_PQ_SECRET_LEN];
    void *key = NULL;
    mssh_mem mem;
    int r;

    mssh_mem_init(&mem, NULL, NULL);
    r = ops->keypair(&mem, &key, public_value);
    (void)VALGRIND_MAKE_MEM_DEFINED(public_value, sizeof public_value);
    if (r == 0)
        r = ops->encapsulate(&mem, public_value, ciphertext, secret);
    (void)VALGRIND_MAKE_MEM_DEFINED(ciphertext, sizeof ciphertext);
    if (r == 0)
        r = ops->decapsulate(&mem, key, ciphertext, secret);
    ciphertext[0] ^= 1;
    if (r == 0)
        r = ops->decapsulate(&mem, key, ciphertext, secret);
    ops->free(&mem, key);
    return r;
}

int main(void)
{
    if (exchange(&mssh_mlkem768_own_ops) != 0 || exchange(&mssh_sntrup761_ops) != 0)
        return 1;
    puts("no branch and no address depends on a secret");
    return 0;
}
