/* OpenSSH's private key files (PROTOCOL.key): openssh-key-v1. */
#include "crypto/bcrypt_pbkdf.h"
#include "crypto/chachapoly.h"
#include "crypto/cipher.h"
#include "crypto/rand.h"
#include "keys/base64.h"
#include "keys/type.h"

/* The most rounds of bcrypt that a file may ask for: seconds of work. What we write has as many as
 * ssh-keygen's. */
enum { ROUNDS_MAX = 1024, ROUNDS_WRITTEN = 24, SALT_LEN = 16, SALT_MAX = 256, LINE_LEN = 70 };

enum { KEY_AND_IV_MAX = 80, NONE_BLOCK_LEN = 8, FILE_MAX = 1 << 20 };

static const char magic[] = "openssh-key-v1"; /* with its terminator */

typedef enum cipher_mode { MODE_NONE, MODE_BLOCK, MODE_GCM, MODE_CHACHAPOLY } cipher_mode;

typedef struct cipher_row {
    const char *name;
    cipher_mode mode;
    mssh_cipher_id id; /* for MODE_BLOCK */
    uint8_t key_len;
    uint8_t iv_len;
    uint8_t block_len;
    uint8_t tag_len;
} cipher_row;

static const cipher_row ciphers[] = {
    {"none", MODE_NONE, 0, 0, 0, NONE_BLOCK_LEN, 0},
    {"aes256-ctr", MODE_BLOCK, MSSH_CIPHER_AES256_CTR, 32, 16, 16, 0},
    {"aes192-ctr", MODE_BLOCK, MSSH_CIPHER_AES192_CTR, 24, 16, 16, 0},
    {"aes128-ctr", MODE_BLOCK, MSSH_CIPHER_AES128_CTR, 16, 16, 16, 0},
    {"aes256-cbc", MODE_BLOCK, MSSH_CIPHER_AES256_CBC, 32, 16, 16, 0},
    {"aes192-cbc", MODE_BLOCK, MSSH_CIPHER_AES192_CBC, 24, 16, 16, 0},
    {"aes128-cbc", MODE_BLOCK, MSSH_CIPHER_AES128_CBC, 16, 16, 16, 0},
    {"3des-cbc", MODE_BLOCK, MSSH_CIPHER_3DES_CBC, 24, 8, 8, 0},
    {"aes256-gcm@openssh.com", MODE_GCM, 0, 32, 12, 16, 16},
    {"aes128-gcm@openssh.com", MODE_GCM, 0, 16, 12, 16, 16},
    {"chacha20-poly1305@openssh.com", MODE_CHACHAPOLY, 0, 64, 0, 8, 16},
};

/* The outer fields of a file, views into it. */
typedef struct outer {
    const cipher_row *cipher;
    mssh_slice kdf_options;
    mssh_slice public_blob;
    mssh_slice sealed; /* with the tag behind it, which is no part of its length */
} outer;

static int damaged(mssh_failure *failure, const char *what)
{
    return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "damaged OpenSSH private key: %s", what);
}

static int read_outer(mssh_slice file, outer *out, mssh_failure *failure)
{
    mssh_reader reader = mssh_reader_of(file);
    mssh_slice start = mssh_read_bytes(&reader, sizeof magic);
    mssh_slice name = mssh_read_string(&reader);
    mssh_slice kdf = mssh_read_string(&reader);
    char shown[64];
    uint32_t n_keys;

    if (!mssh_reader_ok(&reader) || !mssh_slice_equals(start, mssh_slice_of(magic, sizeof magic)))
        return damaged(failure, "it does not begin as one");
    out->kdf_options = mssh_read_string(&reader);
    n_keys = mssh_read_u32(&reader);
    out->public_blob = mssh_read_string(&reader);
    out->sealed = mssh_read_string(&reader);
    if (!mssh_reader_ok(&reader))
        return damaged(failure, "cut short");
    if (n_keys != 1)
        return damaged(failure, "it does not hold exactly one key");
    out->cipher = NULL;
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
        if (mssh_slice_is(name, ciphers[i].name))
            out->cipher = &ciphers[i];
    if (out->cipher == NULL)
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "private key with a cipher not supported: \"%s\"",
                         mssh_escape(shown, sizeof shown, name.data, name.len));
    if (!mssh_slice_is(kdf, out->cipher->mode == MODE_NONE ? "none" : "bcrypt"))
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0,
                         "private key with a key derivation not supported: \"%s\"",
                         mssh_escape(shown, sizeof shown, kdf.data, kdf.len));
    if (mssh_reader_left(&reader) != out->cipher->tag_len)
        return damaged(failure, "something is left over, or missing, at its end");
    if (out->sealed.len == 0 || out->sealed.len % out->cipher->block_len != 0)
        return damaged(failure, "its private part is no multiple of the cipher's block");
    return 0;
}

/* Derives key and IV from the passphrase as the file's options say. */
static int derive(const outer *file, mssh_slice passphrase, uint8_t *key, mssh_failure *failure)
{
    mssh_reader reader = mssh_reader_of(file->kdf_options);
    mssh_slice salt = mssh_read_string(&reader);
    uint32_t rounds = mssh_read_u32(&reader);
    int rc;

    if (!mssh_reader_done(&reader) || salt.len == 0 || salt.len > SALT_MAX || rounds == 0)
        return damaged(failure, "its key derivation options are out of form");
    if (rounds > ROUNDS_MAX)
        return mssh_fail(failure, MSSH_ERR_LIMIT, 0,
                         "private key with %lu rounds of bcrypt: at most %d are done", (unsigned long)rounds,
                         ROUNDS_MAX);
    if (passphrase.data == NULL)
        return mssh_fail(failure, MSSH_ERR_PASSPHRASE, 0, "this private key needs a passphrase");
    if (passphrase.len == 0)
        return mssh_fail(failure, MSSH_ERR_PASSPHRASE, 0,
                         "wrong passphrase for this private key: it is empty");
    rc = mssh_bcrypt_pbkdf(passphrase, salt, rounds, key,
                           (size_t)file->cipher->key_len + file->cipher->iv_len);
    return rc == 0 ? 0 : mssh_fail(failure, rc, 0, "key derivation failed");
}

/* En- or decrypts text[len] with a cipher that has no tag. */
static int apply_block_cipher(const cipher_row *row, bool encrypt, const uint8_t *key, uint8_t *text,
                              size_t len)
{
    mssh_cipher *cipher = mssh_cipher_new(row->id, encrypt, key, key + row->key_len);
    int rc = cipher == NULL ? MSSH_ERR_UNSUPPORTED : mssh_cipher_apply(cipher, text, len);

    mssh_cipher_free(cipher);
    return rc;
}

/* Decrypts text[len], behind which its tag stands if there is one. */
static int unseal(const cipher_row *row, const uint8_t *key, uint8_t *text, size_t len)
{
    mssh_chachapoly *chachapoly;
    mssh_gcm *gcm;
    int rc = MSSH_ERR_UNSUPPORTED;

    switch (row->mode) {
    case MODE_NONE:
        return 0;
    case MODE_BLOCK:
        return apply_block_cipher(row, false, key, text, len);
    case MODE_GCM:
        gcm = mssh_gcm_new(false, mssh_slice_of(key, row->key_len), key + row->key_len);
        if (gcm != NULL)
            rc = mssh_gcm_open(gcm, NULL, text, len, text + len);
        mssh_gcm_free(gcm);
        return rc;
    case MODE_CHACHAPOLY:
        chachapoly = mssh_chachapoly_new(key);
        if (chachapoly != NULL)
            rc = mssh_chachapoly_open_file(chachapoly, text, len);
        mssh_chachapoly_free(chachapoly);
        return rc;
    }
    return rc;
}

/* Reads the decrypted part: two equal check numbers, the key, the comment, the padding 1, 2, 3 and so on. */
static int read_private(mssh_mem *mem, const outer *file, mssh_slice text, mssh_key **key,
                        mssh_failure *failure)
{
    mssh_slice parts[MSSH_KEY_PARTS_MAX] = {MSSH_SLICE_EMPTY};
    mssh_reader reader = mssh_reader_of(text);
    uint32_t checks[2];
    const mssh_key_kind *type;
    mssh_slice name, comment, padding;
    mssh_key *made = NULL;
    int rc;

    checks[0] = mssh_read_u32(&reader);
    checks[1] = mssh_read_u32(&reader);
    if (!mssh_reader_ok(&reader) || (checks[0] != checks[1] && file->cipher->mode == MODE_NONE))
        return damaged(failure, "its check numbers differ");
    if (checks[0] != checks[1])
        return mssh_fail(failure, MSSH_ERR_PASSPHRASE, 0, "wrong passphrase for this private key");
    name = mssh_read_string(&reader);
    type = mssh_key_type_find(name);
    if (!mssh_reader_ok(&reader))
        return damaged(failure, "its private part is cut short");
    if (type == NULL)
        return mssh_key_type_refuse(name, failure);
    type->read_private(type, &reader, parts);
    comment = mssh_read_string(&reader);
    padding = mssh_read_rest(&reader);
    if (!mssh_reader_ok(&reader))
        return damaged(failure, "its private part is out of form");
    for (size_t i = 0; i < padding.len; i++)
        if (padding.len > UINT8_MAX || padding.data[i] != i + 1)
            return damaged(failure, "its padding is wrong");
    rc = mssh_key_from_parts(mem, type, parts, true, &made, failure);
    if (rc != 0)
        return rc;
    if (!mssh_slice_equals(mssh_key_blob(made), file->public_blob)) {
        mssh_key_free(made);
        return damaged(failure, "its public part is another key's");
    }
    rc = mssh_key_set_comment(made, comment);
    if (rc != 0) {
        mssh_key_free(made);
        return mssh_fail(failure, rc, 0, "comment of the key: %s", mssh_err_name(rc));
    }
    *key = made;
    return 0;
}

int mssh_openssh_parse(mssh_mem *mem, mssh_slice file, mssh_slice passphrase, mssh_key **key,
                       mssh_failure *failure)
{
    uint8_t derived[KEY_AND_IV_MAX];
    mssh_buf text;
    outer fields = {.cipher = &ciphers[0]};
    size_t len;
    int rc = read_outer(file, &fields, failure);

    if (rc != 0)
        return rc;
    mssh_buf_init(&text, mem, FILE_MAX);
    if (fields.cipher->mode != MODE_NONE)
        rc = derive(&fields, passphrase, derived, failure);
    if (rc != 0)
        goto out;
    len = fields.sealed.len;
    rc = mssh_buf_append(&text, fields.sealed.data, len + fields.cipher->tag_len);
    if (rc == 0)
        rc = unseal(fields.cipher, derived, mssh_buf_bytes(&text), len);
    if (rc == MSSH_ERR_MAC)
        rc = mssh_fail(failure, MSSH_ERR_PASSPHRASE, 0, "wrong passphrase for this private key");
    else if (rc != 0)
        rc = mssh_fail(failure, rc, 0, "private key: %s", mssh_err_name(rc));
    else
        rc = read_private(mem, &fields, mssh_slice_of(mssh_buf_bytes(&text), len), key, failure);
out:
    mssh_wipe(derived, sizeof derived);
    mssh_buf_free(&text);
    return rc;
}

/* The part to be encrypted, padded to the block. */
static int write_private(const mssh_key *key, mssh_slice comment, const cipher_row *row, mssh_buf *out)
{
    uint8_t check[4];
    int rc = mssh_rand_bytes(check, sizeof check);

    if (rc != 0)
        return rc;
    mssh_write_bytes(out, mssh_slice_of(check, sizeof check));
    mssh_write_bytes(out, mssh_slice_of(check, sizeof check));
    rc = mssh_key_write_private(key, out);
    if (rc != 0)
        return rc;
    mssh_write_string(out, comment);
    for (uint8_t i = 1; out->error == 0 && mssh_buf_len(out) % row->block_len != 0; i++)
        mssh_write_u8(out, i);
    return out->error;
}

/* Encrypts *text with a fresh salt and writes the options that say so. */
static int seal(const cipher_row *row, mssh_slice passphrase, mssh_buf *text, mssh_buf *options)
{
    uint8_t salt[SALT_LEN];
    uint8_t derived[KEY_AND_IV_MAX];
    int rc = mssh_rand_bytes(salt, sizeof salt);

    if (rc == 0)
        rc = mssh_bcrypt_pbkdf(passphrase, mssh_slice_of(salt, sizeof salt), ROUNDS_WRITTEN, derived,
                               (size_t)row->key_len + row->iv_len);
    if (rc == 0)
        rc = apply_block_cipher(row, true, derived, mssh_buf_bytes(text), mssh_buf_len(text));
    mssh_wipe(derived, sizeof derived);
    if (rc != 0)
        return rc;
    mssh_write_string(options, mssh_slice_of(salt, sizeof salt));
    mssh_write_u32(options, ROUNDS_WRITTEN);
    return options->error;
}

/* Appends the armour around a file. */
static int write_armour(mssh_slice file, mssh_mem *mem, mssh_buf *out)
{
    mssh_buf text;
    int rc;

    mssh_buf_init(&text, mem, 2 * FILE_MAX);
    mssh_base64_encode(file, &text);
    mssh_write_bytes(out, mssh_slice_of_text("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    while (text.error == 0 && out->error == 0 && mssh_buf_len(&text) > 0) {
        size_t len = mssh_buf_len(&text) < LINE_LEN ? mssh_buf_len(&text) : LINE_LEN;
        mssh_write_bytes(out, mssh_slice_of(mssh_buf_bytes(&text), len));
        mssh_write_u8(out, '\n');
        mssh_buf_consume(&text, len);
    }
    mssh_write_bytes(out, mssh_slice_of_text("-----END OPENSSH PRIVATE KEY-----\n"));
    rc = text.error != 0 ? text.error : out->error;
    mssh_buf_free(&text);
    return rc;
}

int mssh_openssh_write(mssh_mem *mem, const mssh_key *key, mssh_slice passphrase, mssh_slice comment,
                       mssh_buf *out)
{
    const cipher_row *row = &ciphers[passphrase.len > 0 ? 1 : 0];
    mssh_buf file, text, options;
    int rc;

    mssh_buf_init(&file, mem, FILE_MAX);
    mssh_buf_init(&text, mem, FILE_MAX);
    mssh_buf_init(&options, mem, FILE_MAX);
    rc = write_private(key, comment, row, &text);
    if (rc == 0 && row->mode != MODE_NONE)
        rc = seal(row, passphrase, &text, &options);
    if (rc == 0) {
        mssh_write_bytes(&file, mssh_slice_of(magic, sizeof magic));
        mssh_write_text(&file, row->name);
        mssh_write_text(&file, row->mode == MODE_NONE ? "none" : "bcrypt");
        mssh_write_string(&file, mssh_buf_slice(&options));
        mssh_write_u32(&file, 1);
        mssh_write_string(&file, mssh_key_blob(key));
        mssh_write_string(&file, mssh_buf_slice(&text));
        rc = file.error != 0 ? file.error : write_armour(mssh_buf_slice(&file), mem, out);
    }
    mssh_buf_free(&options);
    mssh_buf_free(&text);
    mssh_buf_free(&file);
    return rc;
}
