#include "transport/ident.h"

#include "wire/messages.h"

#define PREFIX "SSH-2.0-"

static int reject(mssh_failure *failure, const char *why)
{
    return mssh_fail(failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR, "identification: %s", why);
}

static bool starts_with(mssh_slice line, const char *prefix)
{
    size_t len = strlen(prefix);
    return line.len >= len && memcmp(line.data, prefix, len) == 0;
}

/* `line` starts with "SSH-" and has no line end any more. */
static int take_identification(mssh_ident *ident, mssh_slice line, mssh_failure *failure)
{
    char shown[128];
    size_t prefix_len;

    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] < 0x20 || line.data[i] >= 0x7f)
            return reject(failure, "the line holds bytes that are not printable ASCII");
    if (starts_with(line, PREFIX))
        prefix_len = strlen(PREFIX);
    else if (starts_with(line, "SSH-1.99-"))
        prefix_len = strlen("SSH-1.99-");
    else
        return mssh_fail(failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_VERSION_NOT_SUPPORTED,
                         "the peer does not speak version 2.0 of the protocol: %s",
                         mssh_escape(shown, sizeof shown, line.data, line.len));
    if (line.len == prefix_len)
        return reject(failure, "the software version is missing");
    memcpy(ident->text, line.data, line.len);
    ident->len = line.len;
    return 1;
}

/* `len` bytes of a line are there, its line end included if `complete`. */
static int check_line_len(const mssh_ident *ident, mssh_slice start, bool complete, mssh_failure *failure)
{
    size_t least = complete ? start.len : start.len + 1;

    if (starts_with(start, "SSH-"))
        return least > MSSH_IDENT_MAX ? reject(failure, "longer than 255 bytes") : 0;
    if (!ident->allow_lines && start.len >= 4)
        return reject(failure, "the peer's first line is something else");
    if (memchr(start.data, 0, start.len) != NULL)
        return reject(failure, "a zero byte in the lines before it");
    if (least > MSSH_IDENT_LINE_MAX)
        return reject(failure, "a line before it is longer than 8192 bytes");
    return 0;
}

static int take_line(mssh_ident *ident, mssh_slice line, mssh_failure *failure)
{
    int r = check_line_len(ident, line, true, failure);

    if (r != 0)
        return r;
    if (starts_with(line, "SSH-")) {
        line.len--;
        if (line.data[line.len - 1] == '\r')
            line.len--;
        return take_identification(ident, line, failure);
    }
    if (!ident->allow_lines)
        return reject(failure, "the peer's first line is something else");
    if (++ident->n_lines > MSSH_IDENT_LINES_MAX)
        return reject(failure, "more than 1024 lines before it");
    return 0;
}

int mssh_ident_take(mssh_ident *ident, mssh_buf *in, mssh_failure *failure)
{
    int r = 0;

    while (r == 0) {
        mssh_slice all = mssh_buf_slice(in);
        const uint8_t *end = NULL;
        size_t len;

        if (all.data == NULL)
            return 0;
        if (all.len > ident->scanned)
            end = memchr(all.data + ident->scanned, '\n', all.len - ident->scanned);
        if (end == NULL) {
            ident->scanned = all.len;
            return all.len == 0 ? 0 : check_line_len(ident, all, false, failure);
        }
        len = (size_t)(end - all.data) + 1;
        ident->scanned = 0;
        r = take_line(ident, mssh_slice_of(all.data, len), failure);
        mssh_buf_consume(in, len);
    }
    return r;
}

int mssh_ident_write(const char *software, uint8_t *out)
{
    size_t len = strlen(software);
    size_t prefix_len = strlen(PREFIX);

    if (len == 0 || prefix_len + len + 2 > MSSH_IDENT_MAX)
        return MSSH_ERR_UNSUPPORTED;
    for (size_t i = 0; i < len; i++)
        if (software[i] <= 0x20 || software[i] >= 0x7f || software[i] == '-')
            return MSSH_ERR_UNSUPPORTED;
    memcpy(out, PREFIX, prefix_len);
    memcpy(out + prefix_len, software, len);
    return (int)(prefix_len + len);
}
