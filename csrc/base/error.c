#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *mssh_err_name(int code)
{
    switch (code) {
#define MSSH_ERROR_CASE(id, value, name)                                                                     \
    case value:                                                                                              \
        return name;
        MSSH_ERRORS(MSSH_ERROR_CASE)
#undef MSSH_ERROR_CASE
    default:
        return "unknown";
    }
}

int mssh_fail(mssh_failure *failure, int code, uint32_t reason, const char *format, ...)
{
    if (failure == NULL)
        return code;
    if (failure->code == 0) {
        va_list args;
        failure->code = code;
        failure->reason = reason;
        va_start(args, format);
        (void)vsnprintf(failure->message, sizeof failure->message, format, args);
        va_end(args);
    }
    return failure->code;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '\\';
}

/* Whether all of it goes into `size` bytes with the terminator. */
static bool fits(size_t size, const unsigned char *in, size_t len)
{
    size_t need = 1;

    for (size_t i = 0; i < len && need <= size; i++)
        need += is_plain(in[i]) ? 1 : 4;
    return need <= size;
}

const char *mssh_escape(char *out, size_t size, const void *bytes, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    size_t used = 0;
    size_t mark = fits(size, in, len) ? 0 : 3; /* room kept for "..." */

    if (size == 0)
        return out;
    for (size_t i = 0; i < len; i++) {
        if (used + (is_plain(in[i]) ? 1 : 4) + mark + 1 > size) {
            for (int dots = 0; dots < 3 && used + 1 < size; dots++)
                out[used++] = '.';
            break;
        }
        if (is_plain(in[i])) {
            out[used++] = (char)in[i];
        } else {
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = hex[in[i] >> 4];
            out[used++] = hex[in[i] & 15];
        }
    }
    out[used] = '\0';
    return out;
}
