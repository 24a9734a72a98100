#include "wire/writer.h"

#include "base/error.h"

void mssh_write_bytes(mssh_buf *buf, mssh_slice bytes)
{
    (void)mssh_buf_append(buf, bytes.data, bytes.len);
}

void mssh_write_u8(mssh_buf *buf, uint8_t value)
{
    (void)mssh_buf_append(buf, &value, 1);
}

void mssh_write_bool(mssh_buf *buf, bool value)
{
    mssh_write_u8(buf, value ? 1 : 0);
}

void mssh_write_u32(mssh_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    mssh_store_u32(bytes, value);
    (void)mssh_buf_append(buf, bytes, sizeof bytes);
}

void mssh_write_u64(mssh_buf *buf, uint64_t value)
{
    mssh_write_u32(buf, (uint32_t)(value >> 32));
    mssh_write_u32(buf, (uint32_t)value);
}

void mssh_write_string(mssh_buf *buf, mssh_slice value)
{
    if (value.len > UINT32_MAX) {
        if (buf->error == 0)
            buf->error = MSSH_ERR_LIMIT;
        return;
    }
    mssh_write_u32(buf, (uint32_t)value.len);
    mssh_write_bytes(buf, value);
}

void mssh_write_text(mssh_buf *buf, const char *text)
{
    mssh_write_string(buf, mssh_slice_of_text(text));
}

void mssh_write_mpint(mssh_buf *buf, mssh_slice magnitude)
{
    bool sign_byte;

    while (magnitude.len > 0 && magnitude.data[0] == 0) {
        magnitude.data++;
        magnitude.len--;
    }
    sign_byte = magnitude.len > 0 && (magnitude.data[0] & 0x80) != 0;
    mssh_write_u32(buf, (uint32_t)magnitude.len + (sign_byte ? 1U : 0U));
    if (sign_byte)
        mssh_write_u8(buf, 0);
    mssh_write_bytes(buf, magnitude);
}
