#include "sftp/attributes.h"

enum {
    HAS_EXTENDED = 0x80000000U,
    KNOWN_FLAGS = 0x8000000fU,
    PAIR_LEAST = 8, /* two empty strings */
    TYPE_MASK = 0170000
};

static void skip_extended(mssh_reader *reader)
{
    uint32_t count = mssh_read_u32(reader);

    if (count > mssh_reader_left(reader) / PAIR_LEAST) {
        reader->failed = true;
        return;
    }
    for (uint32_t i = 0; i < count && mssh_reader_ok(reader); i++) {
        (void)mssh_read_string(reader);
        (void)mssh_read_string(reader);
    }
}

void mssh_sftp_read_attributes(mssh_reader *reader, mssh_sftp_attributes *attributes)
{
    uint32_t flags = mssh_read_u32(reader);

    *attributes = (mssh_sftp_attributes){.flags = flags & ~(uint32_t)HAS_EXTENDED};
    if ((flags & ~(uint32_t)KNOWN_FLAGS) != 0) {
        reader->failed = true;
        return;
    }
    if ((flags & MSSH_SFTP_HAS_SIZE) != 0)
        attributes->size = mssh_read_u64(reader);
    if ((flags & MSSH_SFTP_HAS_OWNER) != 0) {
        attributes->uid = mssh_read_u32(reader);
        attributes->gid = mssh_read_u32(reader);
    }
    if ((flags & MSSH_SFTP_HAS_PERMISSIONS) != 0)
        attributes->permissions = mssh_read_u32(reader);
    if ((flags & MSSH_SFTP_HAS_TIMES) != 0) {
        attributes->atime = mssh_read_u32(reader);
        attributes->mtime = mssh_read_u32(reader);
    }
    if ((flags & HAS_EXTENDED) != 0)
        skip_extended(reader);
}

const char *mssh_sftp_type_name(const mssh_sftp_attributes *attributes)
{
    static const struct {
        uint32_t mode;
        const char *name;
    } types[] = {
        {0100000, "file"},   {0040000, "directory"}, {0120000, "symlink"},   {0010000, "fifo"},
        {0140000, "socket"}, {0060000, "block"},     {0020000, "character"},
    };

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if ((attributes->flags & MSSH_SFTP_HAS_PERMISSIONS) != 0 &&
            (attributes->permissions & TYPE_MASK) == types[i].mode)
            return types[i].name;
    return "unknown";
}
