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

const char *mssh_escape(char *out, size_t size, const void *bytes, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    size_t used = 0;

    if (size == 0)
        return out;
    for (size_t i = 0; i < len; i++) {
        bool plain = in[i] >= 0x20 && in[i] < 0x7f && in[i] != '\\';
        size_t need = plain ? 1 : 4;
        size_t mark = i + 1 < len ? 3 : 0; /* room kept for "..." while more may follow */
        if (used + need + mark + 1 > size) {
            for (int dots = 0; dots < 3 && used + 1 < size; dots++)
                out[used++] = '.';
            break;
        }
        if (plain) {
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
