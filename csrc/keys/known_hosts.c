#include "keys/known_hosts.h"

#include "base/error.h"
#include "crypto/equal.h"
#include "crypto/hash.h"
#include "keys/base64.h"

#include <string.h>

/* Length of a hashed name's salt and of its hash, SHA-1's; of both in base64, with a bar between them. */
enum { HASH_LENGTH = 20, BOTH_ENCODED = 28 + 1 + 28 };

mssh_known_hosts mssh_known_hosts_of(mssh_slice text)
{
    return (mssh_known_hosts){.rest = text};
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* Cuts the text at the first such byte: gives what is before it, and leaves what is behind it. */
static mssh_slice cut(mssh_slice *text, uint8_t byte)
{
    const uint8_t *end = text->len > 0 ? memchr(text->data, byte, text->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - text->data) : text->len;
    mssh_slice head = mssh_slice_of(text->data, len);
    size_t taken = end != NULL ? len + 1 : len;

    *text = mssh_slice_of(text->data + taken, text->len - taken);
    return head;
}

/* The next word of a line, which is left behind it. */
static mssh_slice next_word(mssh_slice *line)
{
    size_t from = 0, to;

    while (from < line->len && is_blank(line->data[from]))
        from++;
    for (to = from; to < line->len && !is_blank(line->data[to]);)
        to++;
    mssh_slice word = mssh_slice_of(line->data + from, to - from);
    *line = mssh_slice_of(line->data + to, line->len - to);
    return word;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

static bool is_name(mssh_slice item, mssh_slice name)
{
    if (item.len != name.len)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (lower(item.data[i]) != name.data[i])
            return false;
    return true;
}

/* Compares the name's hash with a digest: 1 or 0, or an error. */
static int compare(mssh_slice salt, mssh_slice name, const uint8_t *expected)
{
    uint8_t digest[MSSH_HASH_MAX];
    mssh_hmac *hmac = mssh_hmac_new(MSSH_HASH_SHA1, salt);
    int status = hmac != NULL ? mssh_hmac_compute(hmac, &name, 1, digest) : MSSH_ERR_UNSUPPORTED;

    mssh_hmac_free(hmac);
    return status != 0 ? status : mssh_equal_ct(digest, expected, HASH_LENGTH) ? 1 : 0;
}

/* Whether a field "|1|salt|hash" is the name's: 1 or 0, or an error. */
static int has_hash(mssh_slice field, mssh_slice name, mssh_buf *scratch)
{
    if (field.len != 3 + BOTH_ENCODED || !mssh_slice_is(mssh_slice_of(field.data, 3), "|1|"))
        return 0;
    field = mssh_slice_of(field.data + 3, field.len - 3);
    mssh_buf_clear(scratch);
    for (size_t i = 1; i <= 2; i++) {
        int status = mssh_base64_decode(cut(&field, '|'), scratch);
        if (scratch->error != 0)
            return scratch->error;
        if (status != 0 || mssh_buf_len(scratch) != i * HASH_LENGTH)
            return 0;
    }
    return compare(mssh_slice_of(mssh_buf_bytes(scratch), HASH_LENGTH), name,
                   mssh_buf_bytes(scratch) + HASH_LENGTH);
}

/* Whether a line may speak of the name: 1 or 0, or an error. */
static int may_match(mssh_slice line, mssh_slice name, mssh_buf *scratch)
{
    mssh_slice field = next_word(&line);

    if (field.len > 0 && field.data[0] == '@') /* a marker comes before the names */
        field = next_word(&line);
    if (field.len > 0 && field.data[0] == '|')
        return has_hash(field, name, scratch);
    for (size_t i = 0; i < field.len; i++)
        if (field.data[i] == '*' || field.data[i] == '?' || field.data[i] == '!')
            return 1;
    while (field.len > 0)
        if (is_name(cut(&field, ','), name))
            return 1;
    return 0;
}

int mssh_known_hosts_next(mssh_known_hosts *search, mssh_slice name, mssh_buf *scratch)
{
    int found = 0;

    while (found == 0 && search->rest.len > 0) {
        search->line = cut(&search->rest, '\n');
        search->number++;
        found = may_match(search->line, name, scratch);
    }
    return found;
}
