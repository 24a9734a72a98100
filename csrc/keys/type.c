#include "keys/type.h"

static void read_ed25519_public(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    (void)type;
    parts[0] = mssh_read_string(reader);
}

static void write_ed25519_public(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    (void)type;
    mssh_write_string(out, parts[0]);
}

/* The private string is the seed with the public key behind it. */
static void read_ed25519_private(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    mssh_slice both;

    read_ed25519_public(type, reader, parts);
    both = mssh_read_string(reader);
    if (both.len != 64 || parts[0].len != 32 ||
        !mssh_slice_equals(mssh_slice_of(both.data + 32, 32), parts[0]))
        reader->failed = true;
    else
        parts[1] = mssh_slice_of(both.data, 32);
}

static void write_ed25519_private(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    write_ed25519_public(type, parts, out);
    mssh_write_u32(out, (uint32_t)(parts[1].len + parts[0].len));
    mssh_write_bytes(out, parts[1]);
    mssh_write_bytes(out, parts[0]);
}

/* PROTOCOL.u2f: the application behind the public fields, then the private ones of the file. */
static void read_handle(mssh_reader *reader, mssh_slice *parts)
{
    const uint8_t *start = reader->at;

    (void)mssh_read_u8(reader);
    (void)mssh_read_string(reader);
    (void)mssh_read_string(reader);
    if (mssh_reader_ok(reader))
        parts[MSSH_KEY_HANDLE] = mssh_slice_of(start, (size_t)(reader->at - start));
}

static void read_sk_ed25519_public(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    read_ed25519_public(type, reader, parts);
    parts[MSSH_KEY_APPLICATION] = mssh_read_string(reader);
}

static void write_sk_ed25519_public(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    write_ed25519_public(type, parts, out);
    mssh_write_string(out, parts[MSSH_KEY_APPLICATION]);
}

static void read_sk_private(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    type->read_public(type, reader, parts);
    read_handle(reader, parts);
}

static void write_sk_private(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    type->write_public(type, parts, out);
    mssh_write_bytes(out, parts[MSSH_KEY_HANDLE]);
}

static bool read_fixed_signature(mssh_slice bytes, uint8_t *out, size_t len)
{
    if (bytes.len != len)
        return false;
    memcpy(out, bytes.data, len);
    return true;
}

static void write_fixed_signature(const uint8_t *signature, size_t len, mssh_buf *out)
{
    mssh_write_string(out, mssh_slice_of(signature, len));
}

/* RFC 5656 3.1. */
static void read_ecdsa_public(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    if (!mssh_slice_is(mssh_read_string(reader), type->curve))
        reader->failed = true;
    parts[0] = mssh_read_string(reader);
}

static void write_ecdsa_public(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    mssh_write_text(out, type->curve);
    mssh_write_string(out, parts[0]);
}

static void read_sk_ecdsa_public(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    read_ecdsa_public(type, reader, parts);
    parts[MSSH_KEY_APPLICATION] = mssh_read_string(reader);
}

static void write_sk_ecdsa_public(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    write_ecdsa_public(type, parts, out);
    mssh_write_string(out, parts[MSSH_KEY_APPLICATION]);
}

static void read_ecdsa_private(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    read_ecdsa_public(type, reader, parts);
    parts[1] = mssh_read_mpint(reader);
}

static void write_ecdsa_private(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    write_ecdsa_public(type, parts, out);
    mssh_write_mpint(out, parts[1]);
}

/* RFC 5656 3.1.2: r and s, each of at most half the length; zero ones and those past the order fail in the
 * check itself. */
static bool read_ecdsa_signature(mssh_slice bytes, uint8_t *out, size_t len)
{
    mssh_reader reader = mssh_reader_of(bytes);
    mssh_slice numbers[2];
    size_t half = len / 2;

    numbers[0] = mssh_read_mpint(&reader);
    numbers[1] = mssh_read_mpint(&reader);
    if (!mssh_reader_done(&reader))
        return false;
    memset(out, 0, len);
    for (size_t i = 0; i < 2; i++) {
        if (numbers[i].len == 0 || numbers[i].len > half)
            return false;
        memcpy(out + (i + 1) * half - numbers[i].len, numbers[i].data, numbers[i].len);
    }
    return true;
}

static void write_ecdsa_signature(const uint8_t *signature, size_t len, mssh_buf *out)
{
    mssh_slice numbers[2] = {mssh_slice_of(signature, len / 2), mssh_slice_of(signature + len / 2, len / 2)};
    size_t before = mssh_buf_len(out);

    mssh_write_u32(out, 0);
    mssh_write_mpint(out, numbers[0]);
    mssh_write_mpint(out, numbers[1]);
    if (out->error == 0)
        mssh_store_u32(mssh_buf_bytes(out) + before, (uint32_t)(mssh_buf_len(out) - before - 4));
}

/* RFC 4253 6.6: e before n. */
static void read_rsa_public(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    (void)type;
    parts[1] = mssh_read_mpint(reader);
    parts[0] = mssh_read_mpint(reader);
}

static void write_rsa_public(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    (void)type;
    mssh_write_mpint(out, parts[1]);
    mssh_write_mpint(out, parts[0]);
}

/* A private file has its own order: n, e, d, q^-1 mod p, p, q. */
static const uint8_t rsa_file_order[] = {0, 1, 2, 5, 3, 4};

static void read_rsa_private(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    (void)type;
    for (size_t i = 0; i < sizeof rsa_file_order; i++)
        parts[rsa_file_order[i]] = mssh_read_mpint(reader);
}

static void write_rsa_private(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    (void)type;
    for (size_t i = 0; i < sizeof rsa_file_order; i++)
        mssh_write_mpint(out, parts[rsa_file_order[i]]);
}

/* Some signers drop leading zeros (RFC 8332 forbids it, OpenSSH takes it); longer than the modulus is never
 * right. */
static bool read_rsa_signature(mssh_slice bytes, uint8_t *out, size_t len)
{
    if (bytes.len == 0 || bytes.len > len)
        return false;
    memset(out, 0, len - bytes.len);
    memcpy(out + len - bytes.len, bytes.data, bytes.len);
    return true;
}

/* RFC 4253 6.6: p, q, g, y; then x. */
static void read_dss_public(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    (void)type;
    for (size_t i = 0; i < 4; i++)
        parts[i] = mssh_read_mpint(reader);
}

static void write_dss_public(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    (void)type;
    for (size_t i = 0; i < 4; i++)
        mssh_write_mpint(out, parts[i]);
}

static void read_dss_private(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    read_dss_public(type, reader, parts);
    parts[4] = mssh_read_mpint(reader);
}

static void write_dss_private(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out)
{
    write_dss_public(type, parts, out);
    mssh_write_mpint(out, parts[4]);
}

#define CERT "-cert-v01@openssh.com"

#define ECDSA_ROW(number, kind)                                                                              \
    {                                                                                                        \
        "ecdsa-sha2-nistp" number, "ecdsa-sha2-nistp" number CERT, "nistp" number, (kind), 0, false,         \
            read_ecdsa_public, write_ecdsa_public, read_ecdsa_private, write_ecdsa_private,                  \
            read_ecdsa_signature, write_ecdsa_signature                                                      \
    }

static const mssh_key_kind rows[] = {
    {"ssh-ed25519", "ssh-ed25519" CERT, NULL, MSSH_PKEY_ED25519, 0, false, read_ed25519_public,
     write_ed25519_public, read_ed25519_private, write_ed25519_private, read_fixed_signature,
     write_fixed_signature},
    ECDSA_ROW("256", MSSH_PKEY_P256),
    ECDSA_ROW("384", MSSH_PKEY_P384),
    ECDSA_ROW("521", MSSH_PKEY_P521),
    {"ssh-rsa", "ssh-rsa" CERT, NULL, MSSH_PKEY_RSA, MSSH_RSA_MIN_BITS, false, read_rsa_public,
     write_rsa_public, read_rsa_private, write_rsa_private, read_rsa_signature, write_fixed_signature},
    {"ssh-dss", "ssh-dss" CERT, NULL, MSSH_PKEY_DSA, 0, false, read_dss_public, write_dss_public,
     read_dss_private, write_dss_private, read_fixed_signature, write_fixed_signature},
    {"sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519" CERT, NULL, MSSH_PKEY_ED25519, 0, true,
     read_sk_ed25519_public, write_sk_ed25519_public, read_sk_private, write_sk_private, read_fixed_signature,
     write_fixed_signature},
    {"sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256" CERT, "nistp256", MSSH_PKEY_P256, 0, true,
     read_sk_ecdsa_public, write_sk_ecdsa_public, read_sk_private, write_sk_private, read_ecdsa_signature,
     write_ecdsa_signature},
};

enum { N_ROWS = sizeof rows / sizeof rows[0] };

const mssh_key_kind *mssh_key_type_find(mssh_slice name)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (mssh_slice_is(name, rows[i].name))
            return &rows[i];
    return NULL;
}

const mssh_key_kind *mssh_key_type_find_certified(mssh_slice name)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (mssh_slice_is(name, rows[i].certificate))
            return &rows[i];
    return NULL;
}

/* The rows of security keys come after those of the same kind. */
const mssh_key_kind *mssh_key_type_of(mssh_pkey_kind kind)
{
    size_t i = 0;

    while (i + 1 < N_ROWS && rows[i].kind != kind)
        i++;
    return &rows[i];
}

int mssh_key_type_refuse(mssh_slice name, mssh_failure *failure)
{
    char shown[64];

    return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "key type not supported: \"%s\"",
                     mssh_escape(shown, sizeof shown, name.data, name.len));
}

/* Rows of a plain algorithm, and of the certificate's that signs as it does. */
#define PLAIN(name, key_type, hash)                                                                          \
    {                                                                                                        \
        (name), (key_type), (name), (hash)                                                                   \
    }
#define CERTIFIED(start, key_type_start, signed_as, hash)                                                    \
    {                                                                                                        \
        start CERT, key_type_start CERT, (signed_as), (hash)                                                 \
    }

/* In order of preference; behind the certificates those by SHA-1, which are never used unless they are asked
 * for. */
static const mssh_sig_algorithm algorithms[] = {
    PLAIN("ssh-ed25519", "ssh-ed25519", MSSH_HASH_SHA512),
    PLAIN("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", MSSH_HASH_SHA256),
    PLAIN("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", MSSH_HASH_SHA384),
    PLAIN("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", MSSH_HASH_SHA512),
    PLAIN("sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com", MSSH_HASH_SHA512),
    PLAIN("sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", MSSH_HASH_SHA256),
    PLAIN("rsa-sha2-512", "ssh-rsa", MSSH_HASH_SHA512),
    PLAIN("rsa-sha2-256", "ssh-rsa", MSSH_HASH_SHA256),
    CERTIFIED("ssh-ed25519", "ssh-ed25519", "ssh-ed25519", MSSH_HASH_SHA512),
    CERTIFIED("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", MSSH_HASH_SHA256),
    CERTIFIED("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", MSSH_HASH_SHA384),
    CERTIFIED("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", MSSH_HASH_SHA512),
    CERTIFIED("sk-ssh-ed25519", "sk-ssh-ed25519", "sk-ssh-ed25519@openssh.com", MSSH_HASH_SHA512),
    CERTIFIED("sk-ecdsa-sha2-nistp256", "sk-ecdsa-sha2-nistp256", "sk-ecdsa-sha2-nistp256@openssh.com",
              MSSH_HASH_SHA256),
    CERTIFIED("rsa-sha2-512", "ssh-rsa", "rsa-sha2-512", MSSH_HASH_SHA512),
    CERTIFIED("rsa-sha2-256", "ssh-rsa", "rsa-sha2-256", MSSH_HASH_SHA256),
    PLAIN("ssh-rsa", "ssh-rsa", MSSH_HASH_SHA1),
    PLAIN("ssh-dss", "ssh-dss", MSSH_HASH_SHA1),
};

const mssh_sig_algorithm *mssh_sig_algorithm_at(size_t i)
{
    return i < sizeof algorithms / sizeof algorithms[0] ? &algorithms[i] : NULL;
}

const mssh_sig_algorithm *mssh_sig_algorithm_find(mssh_slice name)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
        if (mssh_slice_is(name, algorithms[i].name))
            return &algorithms[i];
    return NULL;
}
