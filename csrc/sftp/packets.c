#include "sftp/packets.h"

/* uint32 code, string message, string language tag; the last two came with version 3, and some servers
 * forget them. */
static bool status_valid(mssh_reader *reader)
{
    (void)mssh_read_u32(reader);
    if (mssh_reader_left(reader) == 0)
        return mssh_reader_ok(reader);
    (void)mssh_read_string(reader);
    if (mssh_reader_left(reader) > 0)
        (void)mssh_read_string(reader);
    return mssh_reader_done(reader);
}

/* string handle */
static bool handle_valid(mssh_reader *reader)
{
    mssh_slice handle = mssh_read_string(reader);

    return mssh_reader_done(reader) && handle.len <= MSSH_SFTP_HANDLE_MOST;
}

/* string data, of at least one byte: an empty one would be asked for for ever */
static bool data_valid(mssh_reader *reader)
{
    mssh_slice data = mssh_read_string(reader);

    return mssh_reader_done(reader) && data.len > 0;
}

/* uint32 count, and for each: string filename, string longname, attributes */
static bool names_valid(mssh_reader *reader)
{
    uint32_t count = mssh_read_u32(reader);
    mssh_sftp_attributes attributes;

    if (count > MSSH_SFTP_NAMES_MOST)
        return false;
    for (uint32_t i = 0; i < count && mssh_reader_ok(reader); i++) {
        (void)mssh_read_string(reader);
        (void)mssh_read_string(reader);
        mssh_sftp_read_attributes(reader, &attributes);
    }
    return mssh_reader_done(reader);
}

static bool attributes_valid(mssh_reader *reader)
{
    mssh_sftp_attributes attributes;

    mssh_sftp_read_attributes(reader, &attributes);
    return mssh_reader_done(reader);
}

bool mssh_sftp_reply_valid(uint8_t type, mssh_slice body)
{
    mssh_reader reader = mssh_reader_of(body);

    switch (type) {
    case MSSH_SFTP_STATUS:
        return status_valid(&reader);
    case MSSH_SFTP_HANDLE:
        return handle_valid(&reader);
    case MSSH_SFTP_DATA:
        return data_valid(&reader);
    case MSSH_SFTP_NAME:
        return names_valid(&reader);
    case MSSH_SFTP_ATTRS:
        return attributes_valid(&reader);
    default:
        return type == MSSH_SFTP_EXTENDED_REPLY;
    }
}

bool mssh_sftp_extension(mssh_slice *body, mssh_slice *name, mssh_slice *data)
{
    mssh_reader reader = mssh_reader_of(*body);
    mssh_slice first, second;

    if (body->len == 0)
        return false;
    first = mssh_read_string(&reader);
    second = mssh_read_string(&reader);
    if (!mssh_reader_ok(&reader))
        return false;
    *name = first;
    *data = second;
    *body = mssh_read_rest(&reader);
    return true;
}

bool mssh_sftp_version_valid(mssh_slice body)
{
    mssh_slice name, data;

    while (mssh_sftp_extension(&body, &name, &data))
        ;
    return body.len == 0;
}

uint32_t mssh_sftp_status_code(mssh_slice body)
{
    mssh_reader reader = mssh_reader_of(body);

    return mssh_read_u32(&reader);
}

mssh_slice mssh_sftp_status_text(mssh_slice body)
{
    mssh_reader reader = mssh_reader_of(body);

    (void)mssh_read_u32(&reader);
    return mssh_read_string(&reader);
}

void mssh_sftp_attributes_of(mssh_slice body, mssh_sftp_attributes *attributes)
{
    mssh_reader reader = mssh_reader_of(body);

    mssh_sftp_read_attributes(&reader, attributes);
}

mssh_sftp_names mssh_sftp_names_of(mssh_slice body)
{
    mssh_sftp_names names = {.reader = mssh_reader_of(body)};

    names.n_left = mssh_read_u32(&names.reader);
    return names;
}

bool mssh_sftp_names_next(mssh_sftp_names *names, mssh_sftp_name *name)
{
    if (names->n_left == 0)
        return false;
    names->n_left--;
    name->name = mssh_read_string(&names->reader);
    (void)mssh_read_string(&names->reader); /* the line that `ls -l` would show */
    mssh_sftp_read_attributes(&names->reader, &name->attributes);
    return mssh_reader_ok(&names->reader);
}
