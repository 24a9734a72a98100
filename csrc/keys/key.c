#include "keys/type.h"

/* A blob of the largest RSA key has about 2 KiB, a private one about 10; comments are short by nature. */
enum { BLOB_MAX = 4096, COMMENT_MAX = 65536, PARTS_MAX = 32768 };

struct mssh_key {
    mssh_mem *mem;
    size_t refs;
    const mssh_key_kind *type;
    mssh_pkey *pkey;
    mssh_buf blob;
    mssh_buf comment;
};

/* The public blob of a key pair: what every key is known by. */
static int write_blob(const mssh_key_kind *type, const mssh_pkey *pkey, mssh_buf *blob)
{
    mssh_slice parts[MSSH_PKEY_PARTS_MAX];
    mssh_buf bytes;
    int rc;

    mssh_buf_init(&bytes, blob->mem, PARTS_MAX);
    rc = mssh_pkey_parts(pkey, false, &bytes, parts);
    if (rc == 0) {
        mssh_write_text(blob, type->name);
        type->write_public(type, parts, blob);
        rc = blob->error;
    }
    mssh_buf_free(&bytes);
    return rc;
}

int mssh_key_wrap(mssh_mem *mem, mssh_pkey *pkey, mssh_slice comment, mssh_key **key, mssh_failure *failure)
{
    const mssh_key_kind *type = mssh_key_type_of(mssh_pkey_kind_of(pkey));
    unsigned bits = mssh_pkey_bits(pkey);
    mssh_key *made = mssh_alloc(mem, sizeof *made);
    int rc;

    if (made == NULL) {
        mssh_pkey_free(pkey);
        return mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory");
    }
    *made = (mssh_key){.mem = mem, .refs = 1, .type = type, .pkey = pkey};
    mssh_buf_init(&made->blob, mem, BLOB_MAX);
    mssh_buf_init(&made->comment, mem, COMMENT_MAX);
    if (bits < type->min_bits) {
        mssh_key_free(made);
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "%s key of %u bits: less than %u are not accepted",
                         type->name, bits, type->min_bits);
    }
    rc = write_blob(type, pkey, &made->blob);
    if (rc == 0)
        rc = mssh_buf_append(&made->comment, comment.data, comment.len);
    if (rc != 0) {
        mssh_key_free(made);
        return mssh_fail(failure, rc, 0, "key: %s", mssh_err_name(rc));
    }
    *key = made;
    return 0;
}

int mssh_key_from_parts(mssh_mem *mem, const mssh_key_kind *type, const mssh_slice *parts, bool with_private,
                        mssh_key **key, mssh_failure *failure)
{
    mssh_pkey *pkey = NULL;
    int rc;

    rc = mssh_pkey_new(type->kind, parts, with_private, &pkey);
    if (rc != 0)
        return mssh_fail(failure, rc, 0, "%s key with numbers that make no %s", type->name,
                         with_private ? "key pair" : "public key");
    return mssh_key_wrap(mem, pkey, MSSH_SLICE_EMPTY, key, failure);
}

int mssh_key_parse_public(mssh_mem *mem, mssh_slice blob, mssh_key **key, mssh_failure *failure)
{
    mssh_reader reader = mssh_reader_of(blob);
    mssh_slice parts[MSSH_PKEY_PARTS_MAX] = {MSSH_SLICE_EMPTY};
    mssh_slice name = mssh_read_string(&reader);
    const mssh_key_kind *type;

    if (!mssh_reader_ok(&reader))
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "key blob: cut short");
    type = mssh_key_type_find(name);
    if (type == NULL)
        return mssh_key_type_refuse(name, failure);
    type->read_public(type, &reader, parts);
    if (!mssh_reader_done(&reader))
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "%s key blob: out of form", type->name);
    return mssh_key_from_parts(mem, type, parts, false, key, failure);
}

int mssh_key_generate(mssh_mem *mem, const char *type, unsigned bits, mssh_key **key, mssh_failure *failure)
{
    static const struct {
        const char *type;
        unsigned bits; /* 0: any the kind allows */
        mssh_pkey_kind kind;
    } choices[] = {
        {"ed25519", 256, MSSH_PKEY_ED25519}, {"ecdsa", 256, MSSH_PKEY_P256}, {"ecdsa", 384, MSSH_PKEY_P384},
        {"ecdsa", 521, MSSH_PKEY_P521},      {"rsa", 0, MSSH_PKEY_RSA},
    };
    mssh_slice name = mssh_slice_of_text(type);
    bool known = false;

    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        mssh_pkey *pkey = NULL;
        int rc;
        if (!mssh_slice_is(name, choices[i].type))
            continue;
        known = true;
        if (choices[i].bits == 0 && bits == 0)
            bits = 3072;
        if (choices[i].bits == 0 ? bits < MSSH_RSA_MIN_BITS || bits > MSSH_RSA_MAX_BITS
                                 : bits != 0 && bits != choices[i].bits)
            continue;
        rc = mssh_pkey_generate(choices[i].kind, bits, &pkey);
        if (rc != 0)
            return mssh_fail(failure, rc, 0, "OpenSSL cannot make this key");
        return mssh_key_wrap(mem, pkey, MSSH_SLICE_EMPTY, key, failure);
    }
    if (known)
        return mssh_fail(failure, MSSH_ERR_UNSUPPORTED, 0, "no %s key of %u bits", type, bits);
    return mssh_fail(failure, MSSH_ERR_UNSUPPORTED, 0, "no key type of that name to generate");
}

mssh_key *mssh_key_ref(mssh_key *key)
{
    key->refs++;
    return key;
}

void mssh_key_free(mssh_key *key)
{
    if (key == NULL || --key->refs > 0)
        return;
    mssh_pkey_free(key->pkey);
    mssh_buf_free(&key->blob);
    mssh_buf_free(&key->comment);
    mssh_free(key->mem, key, sizeof *key);
}

const char *mssh_key_type(const mssh_key *key)
{
    return key->type->name;
}

unsigned mssh_key_bits(const mssh_key *key)
{
    return mssh_pkey_bits(key->pkey);
}

bool mssh_key_is_private(const mssh_key *key)
{
    return mssh_pkey_is_private(key->pkey);
}

mssh_slice mssh_key_blob(const mssh_key *key)
{
    return mssh_buf_slice(&key->blob);
}

int mssh_key_set_comment(mssh_key *key, mssh_slice comment)
{
    return mssh_buf_append(&key->comment, comment.data, comment.len);
}

mssh_slice mssh_key_comment(const mssh_key *key)
{
    return mssh_buf_slice(&key->comment);
}

int mssh_key_write_private(const mssh_key *key, mssh_buf *out)
{
    mssh_slice parts[MSSH_PKEY_PARTS_MAX];
    mssh_buf bytes;
    int rc;

    mssh_buf_init(&bytes, key->mem, PARTS_MAX);
    rc = mssh_pkey_parts(key->pkey, true, &bytes, parts);
    if (rc == 0) {
        mssh_write_text(out, key->type->name);
        key->type->write_private(key->type, parts, out);
        rc = out->error;
    }
    mssh_buf_free(&bytes);
    return rc;
}

/* The row of an algorithm that belongs to the key's type, or NULL. */
static const mssh_sig_algorithm *algorithm_for(const mssh_key *key, mssh_slice name)
{
    const mssh_sig_algorithm *algorithm = mssh_sig_algorithm_find(name);

    return algorithm != NULL && mssh_slice_is(mssh_slice_of_text(algorithm->key_type), key->type->name)
               ? algorithm
               : NULL;
}

int mssh_key_sign(const mssh_key *key, mssh_slice algorithm, mssh_slice data, mssh_buf *out)
{
    const mssh_sig_algorithm *row = algorithm_for(key, algorithm);
    uint8_t signature[MSSH_PKEY_SIGNATURE_MAX];
    size_t len = mssh_pkey_signature_len(key->pkey);
    int rc;

    if (row == NULL)
        return MSSH_ERR_UNSUPPORTED;
    rc = mssh_pkey_sign(key->pkey, row->hash, data, signature);
    mssh_wipe_stack();
    if (rc != 0)
        return rc;
    mssh_write_text(out, row->name);
    key->type->write_signature(signature, len, out);
    return out->error;
}

int mssh_key_verify(const mssh_key *key, mssh_slice algorithm, mssh_slice data, mssh_slice signature)
{
    const mssh_sig_algorithm *row = algorithm_for(key, algorithm);
    mssh_reader reader = mssh_reader_of(signature);
    uint8_t fixed[MSSH_PKEY_SIGNATURE_MAX];
    size_t len = mssh_pkey_signature_len(key->pkey);
    mssh_slice name, inner;

    name = mssh_read_string(&reader);
    inner = mssh_read_string(&reader);
    if (row == NULL || !mssh_reader_done(&reader) || !mssh_slice_equals(name, algorithm) ||
        !key->type->read_signature(inner, fixed, len))
        return MSSH_ERR_PROTOCOL;
    return mssh_pkey_verify(key->pkey, row->hash, data, mssh_slice_of(fixed, len));
}

int mssh_key_export(const mssh_key *key, mssh_key_format format, mssh_slice passphrase, mssh_slice comment,
                    mssh_buf *out)
{
    int rc;

    if (format == MSSH_KEY_OPENSSH)
        return mssh_openssh_write(key->mem, key, passphrase, comment, out);
    rc = mssh_pkey_write_pem(key->pkey, format == MSSH_KEY_PEM ? MSSH_PEM_TRADITIONAL : MSSH_PEM_PKCS8,
                             passphrase, out);
    mssh_wipe_stack();
    return rc;
}
