#include "transport/kdf.h"

#include "base/error.h"
#include "base/mem.h"

/* Longer than any key: the block of the hash times this. */
enum { MOST_BLOCKS = 4 };

int mssh_kdf(const mssh_kdf_input *input, char letter, uint8_t *out, size_t len)
{
    uint8_t made[MOST_BLOCKS * MSSH_HASH_MAX];
    size_t hash_len = mssh_hash_len(input->hash);
    size_t n_made = hash_len;
    mssh_slice parts[4];
    int r;

    if (len > MOST_BLOCKS * hash_len)
        return MSSH_ERR_LIMIT;
    parts[0] = input->secret;
    parts[1] = input->exchange;
    parts[2] = mssh_slice_of(&letter, 1);
    parts[3] = input->session_id;
    r = mssh_hash(input->hash, parts, 4, made);
    while (r == 0 && n_made < len) {
        parts[2] = mssh_slice_of(made, n_made);
        r = mssh_hash(input->hash, parts, 3, made + n_made);
        n_made += hash_len;
    }
    if (r == 0 && len > 0)
        memcpy(out, made, len);
    mssh_wipe(made, sizeof made);
    return r;
}
