#include "wire/reader.h"

mssh_reader mssh_reader_of(mssh_slice bytes)
{
    static const uint8_t nothing = 0;
    const uint8_t *data = bytes.data != NULL ? bytes.data : &nothing;
    return (mssh_reader){data, data + bytes.len, false};
}

size_t mssh_reader_left(const mssh_reader *reader)
{
    return reader->failed ? 0 : (size_t)(reader->end - reader->at);
}

bool mssh_reader_ok(const mssh_reader *reader)
{
    return !reader->failed;
}

bool mssh_reader_done(const mssh_reader *reader)
{
    return !reader->failed && reader->at == reader->end;
}

mssh_slice mssh_read_bytes(mssh_reader *reader, size_t len)
{
    mssh_slice bytes;
    if (len > mssh_reader_left(reader)) {
        reader->failed = true;
        return MSSH_SLICE_EMPTY;
    }
    bytes = mssh_slice_of(reader->at, len);
    reader->at += len;
    return bytes;
}

static uint64_t read_uint(mssh_reader *reader, size_t len)
{
    mssh_slice bytes = mssh_read_bytes(reader, len);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | bytes.data[i];
    return value;
}

uint8_t mssh_read_u8(mssh_reader *reader)
{
    return (uint8_t)read_uint(reader, 1);
}

bool mssh_read_bool(mssh_reader *reader)
{
    return mssh_read_u8(reader) != 0;
}

uint32_t mssh_read_u32(mssh_reader *reader)
{
    return (uint32_t)read_uint(reader, 4);
}

uint64_t mssh_read_u64(mssh_reader *reader)
{
    return read_uint(reader, 8);
}

mssh_slice mssh_read_string(mssh_reader *reader)
{
    uint32_t len = mssh_read_u32(reader);
    return mssh_read_bytes(reader, len);
}

mssh_slice mssh_read_mpint(mssh_reader *reader)
{
    mssh_slice value = mssh_read_string(reader);
    if (value.len == 0)
        return value;
    if (value.data[0] & 0x80) {
        reader->failed = true;
        return MSSH_SLICE_EMPTY;
    }
    if (value.data[0] == 0) {
        if (value.len == 1 || !(value.data[1] & 0x80)) {
            reader->failed = true;
            return MSSH_SLICE_EMPTY;
        }
        value.data++;
        value.len--;
    }
    return value;
}

mssh_slice mssh_read_rest(mssh_reader *reader)
{
    return mssh_read_bytes(reader, mssh_reader_left(reader));
}
