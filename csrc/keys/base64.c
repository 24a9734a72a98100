#include "keys/base64.h"

#include "base/error.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void mssh_base64_encode(mssh_slice bytes, mssh_buf *out)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = 0;
        char quad[4];

        for (size_t j = 0; j < 3; j++)
            group = group << 8 | (j < n ? bytes.data[i + j] : 0U);
        for (size_t j = 0; j < 4; j++)
            quad[j] = j <= n ? alphabet[group >> (18 - 6 * j) & 63] : '=';
        if (mssh_buf_append(out, quad, sizeof quad) != 0)
            return;
    }
}

/* The value of a character, or -1. */
static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int mssh_base64_decode(mssh_slice text, mssh_buf *out)
{
    size_t before = mssh_buf_len(out);
    uint32_t group = 0;
    size_t n_chars = 0; /* in the group, padding included */
    size_t n_pads = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        int value = c == '=' ? 0 : value_of(c);

        if (is_space(c))
            continue;
        /* Padding ends the text, and only stands in the last two places. */
        if (value < 0 || (c != '=' && n_pads > 0) || (c == '=' && n_chars < 2) ||
            (n_pads > 0 && n_chars == 0))
            goto out;
        n_pads += c == '=';
        group = group << 6 | (uint32_t)value;
        if (++n_chars == 4) {
            uint8_t bytes[3] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};
            size_t len = 3 - n_pads;
            /* The bits that the padding leaves over are zero in the one true encoding. */
            if ((n_pads >= 1 && bytes[2] != 0) || (n_pads == 2 && bytes[1] != 0))
                goto out;
            if (mssh_buf_append(out, bytes, len) != 0)
                return out->error;
            n_chars = 0;
            group = 0;
        }
    }
    if (n_chars == 0)
        return 0;
out:
    mssh_buf_truncate(out, before);
    return MSSH_ERR_KEY_FORMAT;
}
