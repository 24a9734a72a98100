/* PuTTY's private key files, versions 2 and 3 (PuTTY's manual, appendix "PPK file format"). */
#include "crypto/argon2.h"
#include "crypto/cipher.h"
#include "crypto/equal.h"
#include "keys/base64.h"
#include "keys/type.h"

enum { FILE_MAX = 1 << 20, LINES_MAX = 16384, SALT_MAX = 256, CIPHER_KEY_LEN = 32, BLOCK_LEN = 16 };

/* What is derived: cipher key, IV, and the key of the MAC, of which there may be none. */
typedef struct keys {
    uint8_t bytes[CIPHER_KEY_LEN + BLOCK_LEN + MSSH_HASH_MAX];
    size_t mac_len;
} keys;

/* The fields of a file: views, and what was decoded. */
typedef struct ppk {
    mssh_slice rest; /* what is still to be read */
    int version;
    mssh_slice type;
    mssh_slice encryption;
    mssh_slice comment;
    bool encrypted;
    mssh_argon2 kdf; /* of version 3, encrypted; the salt is in `salt` */
    mssh_buf public_blob;
    mssh_buf salt;
    mssh_buf text; /* the private part */
    mssh_buf mac;
} ppk;

static int damaged(mssh_failure *failure, const char *what)
{
    return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "damaged PuTTY key file: %s", what);
}

/* Takes a line "Name: value" off the file. False when the next line is another one. */
static bool take(ppk *file, const char *name, mssh_slice *value)
{
    size_t name_len = strlen(name);
    mssh_slice rest = file->rest;
    mssh_slice line;

    if (!mssh_file_next_line(&rest, &line) || line.len < name_len + 2 ||
        !mssh_slice_is(mssh_slice_of(line.data, name_len), name) || line.data[name_len] != ':' ||
        line.data[name_len + 1] != ' ')
        return false;
    *value = mssh_slice_of(line.data + name_len + 2, line.len - name_len - 2);
    file->rest = rest;
    return true;
}

static bool take_number(ppk *file, const char *name, uint32_t *number)
{
    mssh_slice text;
    uint64_t value = 0;

    if (!take(file, name, &text) || text.len == 0 || text.len > 10)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (value > UINT32_MAX)
        return false;
    *number = (uint32_t)value;
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(ppk *file, const char *name, mssh_buf *out)
{
    mssh_slice text;

    if (!take(file, name, &text) || text.len % 2 != 0)
        return false;
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_digit(text.data[i]);
        int low = hex_digit(text.data[i + 1]);
        uint8_t byte = (uint8_t)(high * 16 + low);
        if (high < 0 || low < 0 || mssh_buf_append(out, &byte, 1) != 0)
            return false;
    }
    return true;
}

/* A number of lines, then as many of base64. */
static bool take_base64(ppk *file, const char *name, mssh_buf *out)
{
    mssh_slice line;
    const uint8_t *start;
    uint32_t n_lines;

    if (!take_number(file, name, &n_lines) || n_lines > LINES_MAX)
        return false;
    start = file->rest.data;
    for (uint32_t i = 0; i < n_lines; i++)
        if (!mssh_file_next_line(&file->rest, &line))
            return false;
    return mssh_base64_decode(mssh_slice_of(start, (size_t)(file->rest.data - start)), out) == 0;
}

static bool take_kdf(ppk *file)
{
    static const char *const names[] = {
        [MSSH_ARGON2_D] = "Argon2d", [MSSH_ARGON2_I] = "Argon2i", [MSSH_ARGON2_ID] = "Argon2id"};
    mssh_slice name;
    size_t kind = 0;

    if (!take(file, "Key-Derivation", &name))
        return false;
    while (kind < 3 && !mssh_slice_is(name, names[kind]))
        kind++;
    file->kdf.kind = (mssh_argon2_kind)kind;
    return kind < 3 && take_number(file, "Argon2-Memory", &file->kdf.memory) &&
           take_number(file, "Argon2-Passes", &file->kdf.passes) &&
           take_number(file, "Argon2-Parallelism", &file->kdf.lanes) &&
           take_hex(file, "Argon2-Salt", &file->salt);
}

/* Why a part could not be taken: it is out of form, unless memory has run out. */
static int untaken(const ppk *file, const char *what, mssh_failure *failure)
{
    const mssh_buf *const bufs[] = {&file->public_blob, &file->salt, &file->text, &file->mac};

    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        if (bufs[i]->error == MSSH_ERR_MEMORY)
            return mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory");
    return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0,
                     "damaged PuTTY key file: its %s is cut short or out of form", what);
}

static int read_fields(ppk *file, mssh_failure *failure)
{
    char shown[64];

    file->version = 3;
    if (!take(file, "PuTTY-User-Key-File-3", &file->type)) {
        file->version = 2;
        if (!take(file, "PuTTY-User-Key-File-2", &file->type))
            return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0,
                             "PuTTY key file of a version not supported: only 2 and 3 are");
    }
    if (!take(file, "Encryption", &file->encryption) || !take(file, "Comment", &file->comment) ||
        !take_base64(file, "Public-Lines", &file->public_blob))
        return untaken(file, "public part", failure);
    file->encrypted = !mssh_slice_is(file->encryption, "none");
    if (file->encrypted && !mssh_slice_is(file->encryption, "aes256-cbc"))
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0,
                         "PuTTY key file with a cipher not supported: \"%s\"",
                         mssh_escape(shown, sizeof shown, file->encryption.data, file->encryption.len));
    if (file->encrypted && file->version == 3 && !take_kdf(file))
        return untaken(file, "key derivation", failure);
    if (!take_base64(file, "Private-Lines", &file->text) || !take_hex(file, "Private-MAC", &file->mac) ||
        file->rest.len != 0)
        return untaken(file, "private part", failure);
    if (file->encrypted && mssh_buf_len(&file->text) % BLOCK_LEN != 0)
        return damaged(failure, "its private part is no multiple of the cipher's block");
    return 0;
}

/* Version 2: SHA-1 of a number and the passphrase, twice; the IV is zero. */
static int derive_2(const ppk *file, mssh_slice passphrase, keys *out)
{
    static const uint8_t counters[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 1}};
    static const char mac_label[] = "putty-private-key-file-mac-key";
    mssh_slice parts[2] = {MSSH_SLICE_EMPTY, passphrase};
    uint8_t digest[MSSH_HASH_MAX];
    size_t len = mssh_hash_len(MSSH_HASH_SHA1);
    int rc = 0;

    for (size_t i = 0; i < 2 && rc == 0; i++) {
        parts[0] = mssh_slice_of(counters[i], 4);
        rc = mssh_hash(MSSH_HASH_SHA1, parts, 2, digest);
        if (rc == 0)
            memcpy(out->bytes + i * len, digest, i == 0 ? len : CIPHER_KEY_LEN - len);
    }
    memset(out->bytes + CIPHER_KEY_LEN, 0, BLOCK_LEN);
    parts[0] = mssh_slice_of_text(mac_label);
    if (rc == 0)
        rc = mssh_hash(MSSH_HASH_SHA1, parts, file->encrypted ? 2 : 1,
                       out->bytes + CIPHER_KEY_LEN + BLOCK_LEN);
    out->mac_len = len;
    mssh_wipe(digest, sizeof digest);
    return rc;
}

/* Version 3: all of it from Argon2; a file that is not encrypted has a MAC under the empty key. */
static int derive_3(mssh_mem *mem, ppk *file, mssh_slice passphrase, keys *out)
{
    enum { MAC_KEY_LEN = 32 };

    out->mac_len = file->encrypted ? MAC_KEY_LEN : 0;
    if (!file->encrypted)
        return 0;
    file->kdf.salt = mssh_buf_slice(&file->salt);
    return mssh_argon2_derive(mem, &file->kdf, passphrase, out->bytes,
                              CIPHER_KEY_LEN + BLOCK_LEN + MAC_KEY_LEN);
}

static int derive(mssh_mem *mem, ppk *file, mssh_slice passphrase, keys *out, mssh_failure *failure)
{
    int rc;

    if (file->encrypted && passphrase.data == NULL)
        return mssh_fail(failure, MSSH_ERR_PASSPHRASE, 0, "this private key needs a passphrase");
    rc = file->version == 2 ? derive_2(file, passphrase, out) : derive_3(mem, file, passphrase, out);
    if (rc == MSSH_ERR_LIMIT)
        return mssh_fail(failure, rc, 0,
                         "PuTTY key file whose key derivation is out of bounds: %lu KiB, %lu passes, "
                         "%lu lanes",
                         (unsigned long)file->kdf.memory, (unsigned long)file->kdf.passes,
                         (unsigned long)file->kdf.lanes);
    return rc == 0 ? 0 : mssh_fail(failure, rc, 0, "key derivation failed");
}

static int decrypt(ppk *file, const keys *derived)
{
    mssh_cipher *cipher;
    int rc;

    if (!file->encrypted || mssh_buf_len(&file->text) == 0)
        return 0;
    cipher = mssh_cipher_new(MSSH_CIPHER_AES256_CBC, false, derived->bytes, derived->bytes + CIPHER_KEY_LEN);
    rc = cipher == NULL ? MSSH_ERR_UNSUPPORTED
                        : mssh_cipher_apply(cipher, mssh_buf_bytes(&file->text), mssh_buf_len(&file->text));
    mssh_cipher_free(cipher);
    return rc;
}

/* The MAC over everything but itself: what is encrypted in clear. 0, MSSH_ERR_MAC, or an mssh_err. */
static int check_mac(mssh_mem *mem, const ppk *file, const keys *derived)
{
    mssh_hash_id id = file->version == 2 ? MSSH_HASH_SHA1 : MSSH_HASH_SHA256;
    mssh_slice given = mssh_buf_slice(&file->mac);
    uint8_t mac[MSSH_HASH_MAX];
    mssh_hmac *hmac =
        mssh_hmac_new(id, mssh_slice_of(derived->bytes + CIPHER_KEY_LEN + BLOCK_LEN, derived->mac_len));
    mssh_buf signed_data;
    mssh_slice whole;
    int rc = MSSH_ERR_UNSUPPORTED;

    mssh_buf_init(&signed_data, mem, 2 * FILE_MAX);
    mssh_write_string(&signed_data, file->type);
    mssh_write_string(&signed_data, file->encryption);
    mssh_write_string(&signed_data, file->comment);
    mssh_write_string(&signed_data, mssh_buf_slice(&file->public_blob));
    mssh_write_string(&signed_data, mssh_buf_slice(&file->text));
    whole = mssh_buf_slice(&signed_data);
    if (signed_data.error != 0)
        rc = signed_data.error;
    else if (hmac != NULL)
        rc = mssh_hmac_compute(hmac, &whole, 1, mac);
    if (rc == 0 && (given.len != mssh_hash_len(id) || !mssh_equal_ct(mac, given.data, given.len)))
        rc = MSSH_ERR_MAC;
    mssh_hmac_free(hmac);
    mssh_buf_free(&signed_data);
    return rc;
}

/* The private numbers, in the order of the parts; of ed25519 it is the seed, as a string. */
static void read_private(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts)
{
    size_t n = mssh_pkey_n_parts(type->kind, true);

    for (size_t i = mssh_pkey_n_parts(type->kind, false); i < n; i++)
        parts[i] = type->kind == MSSH_PKEY_ED25519 ? mssh_read_string(reader) : mssh_read_mpint(reader);
}

/* The key of a file whose MAC was right. Padding, whose bytes mean nothing, fills the last block. */
static int read_key(mssh_mem *mem, const ppk *file, mssh_key **key, mssh_failure *failure)
{
    mssh_slice parts[MSSH_KEY_PARTS_MAX] = {MSSH_SLICE_EMPTY};
    mssh_reader numbers = mssh_reader_of(mssh_buf_slice(&file->public_blob));
    mssh_reader text = mssh_reader_of(mssh_buf_slice(&file->text));
    const mssh_key_kind *type = mssh_key_type_find(file->type);
    mssh_key *made = NULL;
    int rc;

    if (type == NULL || type->in_hardware)
        return mssh_key_type_refuse(file->type, failure);
    if (!mssh_slice_equals(mssh_read_string(&numbers), file->type))
        return damaged(failure, "its public part is of another type than it says");
    type->read_public(type, &numbers, parts);
    read_private(type, &text, parts);
    if (!mssh_reader_done(&numbers) || !mssh_reader_ok(&text) ||
        mssh_reader_left(&text) >= (file->encrypted ? BLOCK_LEN : 1))
        return damaged(failure, "its numbers are out of form");
    rc = mssh_key_from_parts(mem, type, parts, true, &made, failure);
    if (rc != 0)
        return rc;
    rc = mssh_key_set_comment(made, file->comment);
    if (rc != 0) {
        mssh_key_free(made);
        return mssh_fail(failure, rc, 0, "comment of the key: %s", mssh_err_name(rc));
    }
    *key = made;
    return 0;
}

int mssh_ppk_parse(mssh_mem *mem, mssh_slice text, mssh_slice passphrase, mssh_key **key,
                   mssh_failure *failure)
{
    ppk file = {.rest = text};
    keys derived = {.mac_len = 0};
    int rc;

    mssh_buf_init(&file.public_blob, mem, FILE_MAX);
    mssh_buf_init(&file.salt, mem, SALT_MAX);
    mssh_buf_init(&file.text, mem, FILE_MAX);
    mssh_buf_init(&file.mac, mem, MSSH_HASH_MAX);
    rc = read_fields(&file, failure);
    if (rc == 0)
        rc = derive(mem, &file, passphrase, &derived, failure);
    if (rc != 0)
        goto out;
    rc = decrypt(&file, &derived);
    if (rc == 0)
        rc = check_mac(mem, &file, &derived);
    if (rc == MSSH_ERR_MAC)
        rc = file.encrypted ? mssh_fail(failure, MSSH_ERR_PASSPHRASE, 0,
                                        "wrong passphrase for this private key, or it is damaged")
                            : damaged(failure, "its MAC is wrong");
    else if (rc != 0)
        rc = mssh_fail(failure, rc, 0, "private key: %s", mssh_err_name(rc));
    else
        rc = read_key(mem, &file, key, failure);
out:
    mssh_wipe(&derived, sizeof derived);
    mssh_buf_free(&file.mac);
    mssh_buf_free(&file.text);
    mssh_buf_free(&file.salt);
    mssh_buf_free(&file.public_blob);
    return rc;
}
