#include "keys/type.h"

#include "crypto/hash.h"

/* A blob of the largest RSA key has about 2 KiB, a private one about 10; comments are short by nature. */
enum {
    BLOB_MAX = 4096,
    COMMENT_MAX = 65536,
    PARTS_MAX = 32768,
    HARDWARE_MAX = 4096,
    CERTIFICATE_MAX = 65536
};

static mssh_key *new_key(mssh_mem *mem, const mssh_key_kind *type)
{
    mssh_key *made = mssh_alloc(mem, sizeof *made);

    if (made == NULL)
        return NULL;
    made->mem = mem;
    made->refs = 1;
    made->type = type;
    mssh_buf_init(&made->plain, mem, BLOB_MAX);
    mssh_buf_init(&made->comment, mem, COMMENT_MAX);
    mssh_buf_init(&made->application, mem, HARDWARE_MAX);
    mssh_buf_init(&made->handle, mem, HARDWARE_MAX);
    mssh_buf_init(&made->certified, mem, CERTIFICATE_MAX);
    return made;
}

/* All parts of a key, the private ones too if asked for; `bytes` is empty and holds the numbers. */
static int collect_parts(const mssh_key *key, bool with_private, mssh_buf *bytes, mssh_slice *parts)
{
    parts[MSSH_KEY_APPLICATION] = mssh_buf_slice(&key->application);
    parts[MSSH_KEY_HANDLE] = mssh_buf_slice(&key->handle);
    if (!key->type->in_hardware)
        return mssh_pkey_parts(key->pkey, with_private, bytes, parts);
    if (with_private && mssh_buf_len(&key->handle) == 0)
        return MSSH_ERR_STATE;
    return mssh_pkey_parts(key->pkey, false, bytes, parts);
}

/* The public blob of a key pair: what every key is known by. */
static int write_blob(mssh_key *key)
{
    mssh_slice parts[MSSH_KEY_PARTS_MAX];
    mssh_buf bytes;
    int rc;

    mssh_buf_init(&bytes, key->mem, PARTS_MAX);
    rc = collect_parts(key, false, &bytes, parts);
    if (rc == 0) {
        mssh_write_text(&key->plain, key->type->name);
        key->type->write_public(key->type, parts, &key->plain);
        rc = key->plain.error;
    }
    mssh_buf_free(&bytes);
    return rc;
}

/* What a key is to be. */
typedef struct key_plan {
    mssh_mem *mem;
    const mssh_key_kind *type;
    unsigned min_bits;
} key_plan;

/* A key around *pkey, which it adopts also on failure; `parts` are for what a pkey does not hold, and may be
 * NULL. */
static int wrap(const key_plan *plan, mssh_pkey *pkey, const mssh_slice *parts, mssh_key **key,
                mssh_failure *failure)
{
    const mssh_key_kind *type = plan->type;
    unsigned bits = mssh_pkey_bits(pkey);
    mssh_key *made = new_key(plan->mem, type);
    int rc = 0;

    if (made == NULL) {
        mssh_pkey_free(pkey);
        return mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory");
    }
    made->pkey = pkey;
    if (bits < plan->min_bits) {
        mssh_key_free(made);
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "%s key of %u bits: less than %u are not accepted",
                         type->name, bits, plan->min_bits);
    }
    if (parts != NULL && type->in_hardware) {
        mssh_write_bytes(&made->application, parts[MSSH_KEY_APPLICATION]);
        mssh_write_bytes(&made->handle, parts[MSSH_KEY_HANDLE]);
        rc = made->application.error != 0 ? made->application.error : made->handle.error;
    }
    if (rc == 0)
        rc = write_blob(made);
    if (rc != 0) {
        mssh_key_free(made);
        return mssh_fail(failure, rc, 0, "key: %s", mssh_err_name(rc));
    }
    *key = made;
    return 0;
}

int mssh_key_wrap(mssh_mem *mem, mssh_pkey *pkey, mssh_key **key, mssh_failure *failure)
{
    const mssh_key_kind *type = mssh_key_type_of(mssh_pkey_kind_of(pkey));
    key_plan plan = {mem, type, type->min_bits};

    return wrap(&plan, pkey, NULL, key, failure);
}

static int build(const key_plan *plan, const mssh_slice *parts, bool with_private, mssh_key **key,
                 mssh_failure *failure)
{
    const mssh_key_kind *type = plan->type;
    mssh_pkey *pkey = NULL;
    int rc = mssh_pkey_new(type->kind, parts, with_private && !type->in_hardware, &pkey);

    if (rc != 0)
        return mssh_fail(failure, rc, 0, "%s key with numbers that make no %s", type->name,
                         with_private ? "key pair" : "public key");
    return wrap(plan, pkey, parts, key, failure);
}

int mssh_key_from_parts(mssh_mem *mem, const mssh_key_kind *type, const mssh_slice *parts, bool with_private,
                        mssh_key **key, mssh_failure *failure)
{
    key_plan plan = {mem, type, type->min_bits};

    return build(&plan, parts, with_private, key, failure);
}

int mssh_key_parse_public(mssh_mem *mem, mssh_slice blob, mssh_key **key, mssh_failure *failure)
{
    return mssh_key_parse_public_from(mem, blob, 0, key, failure);
}

int mssh_key_parse_public_from(mssh_mem *mem, mssh_slice blob, unsigned min_rsa_bits, mssh_key **key,
                               mssh_failure *failure)
{
    key_plan plan = {.mem = mem};
    mssh_reader reader = mssh_reader_of(blob);
    mssh_slice parts[MSSH_KEY_PARTS_MAX] = {MSSH_SLICE_EMPTY};
    mssh_slice name = mssh_read_string(&reader);
    const mssh_key_kind *type;

    if (!mssh_reader_ok(&reader))
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "key blob: cut short");
    type = mssh_key_type_find(name);
    if (type == NULL) {
        type = mssh_key_type_find_certified(name);
        return type != NULL ? mssh_certificate_parse(mem, type, blob, key, failure)
                            : mssh_key_type_refuse(name, failure);
    }
    type->read_public(type, &reader, parts);
    if (!mssh_reader_done(&reader))
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "%s key blob: out of form", type->name);
    plan.type = type;
    plan.min_bits = type->min_bits > 0 && min_rsa_bits > 0 ? min_rsa_bits : type->min_bits;
    return build(&plan, parts, false, key, failure);
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
        return mssh_key_wrap(mem, pkey, key, failure);
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
    mssh_buf_free(&key->plain);
    mssh_buf_free(&key->comment);
    mssh_buf_free(&key->application);
    mssh_buf_free(&key->handle);
    mssh_buf_free(&key->certified);
    mssh_free(key->mem, key, sizeof *key);
}

const char *mssh_key_type(const mssh_key *key)
{
    return mssh_key_certificate(key) != NULL ? key->type->certificate : key->type->name;
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
    return mssh_buf_slice(mssh_key_certificate(key) != NULL ? &key->certified : &key->plain);
}

mssh_slice mssh_key_plain_blob(const mssh_key *key)
{
    return mssh_buf_slice(&key->plain);
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
    mssh_slice parts[MSSH_KEY_PARTS_MAX];
    mssh_buf bytes;
    int rc;

    mssh_buf_init(&bytes, key->mem, PARTS_MAX);
    rc = collect_parts(key, true, &bytes, parts);
    if (rc == 0) {
        mssh_write_text(out, key->type->name);
        key->type->write_private(key->type, parts, out);
        rc = out->error;
    }
    mssh_buf_free(&bytes);
    return rc;
}

/* The row of an algorithm that belongs to the key's type, or to that of the key in the certificate; or NULL.
 */
static const mssh_sig_algorithm *algorithm_for(const mssh_key *key, mssh_slice name)
{
    const mssh_sig_algorithm *algorithm = mssh_sig_algorithm_find(name);
    mssh_slice type;

    if (algorithm == NULL)
        return NULL;
    type = mssh_slice_of_text(algorithm->key_type);
    return mssh_slice_is(type, key->type->name) || mssh_slice_is(type, mssh_key_type(key)) ? algorithm : NULL;
}

int mssh_key_sign(const mssh_key *key, mssh_slice algorithm, mssh_slice data, mssh_buf *out)
{
    const mssh_sig_algorithm *row = algorithm_for(key, algorithm);
    uint8_t signature[MSSH_PKEY_SIGNATURE_MAX];
    size_t len = mssh_pkey_signature_len(key->pkey);
    int rc;

    if (row == NULL || key->type->in_hardware)
        return MSSH_ERR_UNSUPPORTED;
    rc = mssh_pkey_sign(key->pkey, row->hash, data, signature);
    mssh_wipe_stack();
    if (rc != 0)
        return rc;
    mssh_write_text(out, row->signed_as);
    key->type->write_signature(signature, len, out);
    return out->error;
}

/* PROTOCOL.u2f: a security key signs SHA256(application), its flags and counter, SHA256(data); flags and
 * counter stand behind the signature, as `tail`. 0 or MSSH_ERR_PROTOCOL. */
static int verify_hardware(const mssh_key *key, mssh_hash_id hash, mssh_slice data, mssh_slice tail,
                           mssh_slice signature)
{
    enum { DIGEST = 32, TAIL = 5 };
    uint8_t signed_data[2 * DIGEST + TAIL];
    mssh_slice application = mssh_buf_slice(&key->application);

    if (tail.len != TAIL || mssh_hash(MSSH_HASH_SHA256, &application, 1, signed_data) != 0 ||
        mssh_hash(MSSH_HASH_SHA256, &data, 1, signed_data + DIGEST + TAIL) != 0)
        return MSSH_ERR_PROTOCOL;
    memcpy(signed_data + DIGEST, tail.data, TAIL);
    return mssh_pkey_verify(key->pkey, hash, mssh_slice_of(signed_data, sizeof signed_data), signature);
}

int mssh_key_verify(const mssh_key *key, mssh_slice algorithm, mssh_slice data, mssh_slice signature)
{
    const mssh_sig_algorithm *row = algorithm_for(key, algorithm);
    mssh_reader reader = mssh_reader_of(signature);
    uint8_t fixed[MSSH_PKEY_SIGNATURE_MAX];
    size_t len = mssh_pkey_signature_len(key->pkey);
    mssh_slice name = mssh_read_string(&reader);
    mssh_slice inner = mssh_read_string(&reader);
    mssh_slice tail = key->type->in_hardware ? mssh_read_rest(&reader) : MSSH_SLICE_EMPTY;

    if (row == NULL || !mssh_reader_done(&reader) || !mssh_slice_is(name, row->signed_as) ||
        !key->type->read_signature(inner, fixed, len))
        return MSSH_ERR_PROTOCOL;
    if (key->type->in_hardware)
        return verify_hardware(key, row->hash, data, tail, mssh_slice_of(fixed, len));
    return mssh_pkey_verify(key->pkey, row->hash, data, mssh_slice_of(fixed, len));
}

int mssh_key_export(const mssh_key *key, mssh_key_format format, mssh_slice passphrase, mssh_slice comment,
                    mssh_buf *out)
{
    int rc;

    if (key->type->in_hardware && mssh_buf_len(&key->handle) == 0)
        return MSSH_ERR_STATE;
    if (format == MSSH_KEY_OPENSSH)
        return mssh_openssh_write(key->mem, key, passphrase, comment, out);
    if (key->type->in_hardware)
        return MSSH_ERR_UNSUPPORTED;
    rc = mssh_pkey_write_pem(key->pkey, format == MSSH_KEY_PEM ? MSSH_PEM_TRADITIONAL : MSSH_PEM_PKCS8,
                             passphrase, out);
    mssh_wipe_stack();
    return rc;
}
