#include "keys/certificate.h"

#include "keys/type.h"

/* As many as OpenSSH takes. */
enum { PRINCIPALS_MAX = 256 };

const mssh_certificate *mssh_key_certificate(const mssh_key *key)
{
    return mssh_buf_len(&key->certified) > 0 ? &key->certificate : NULL;
}

static int damaged(mssh_failure *failure, const char *what)
{
    return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "certificate: %s", what);
}

/* Whether the bytes are strings, `group` of them at a time, and no more than `most`. */
static bool are_strings(mssh_slice bytes, size_t group, size_t most)
{
    mssh_reader reader = mssh_reader_of(bytes);
    size_t n = 0;

    while (mssh_reader_left(&reader) > 0) {
        for (size_t i = 0; i < group; i++)
            (void)mssh_read_string(&reader);
        n++;
    }
    return mssh_reader_done(&reader) && n <= most;
}

/* uint64 serial, uint32 type, string key id, string principals, uint64 valid after, uint64 valid before,
 * string critical options, string extensions, string reserved, string signature key, string signature. */
static int read_fields(mssh_reader *reader, mssh_certificate *fields, mssh_slice *signature,
                       mssh_failure *failure)
{
    uint32_t use;

    fields->serial = mssh_read_u64(reader);
    use = mssh_read_u32(reader);
    fields->key_id = mssh_read_string(reader);
    fields->principals = mssh_read_string(reader);
    fields->valid_after = mssh_read_u64(reader);
    fields->valid_before = mssh_read_u64(reader);
    fields->critical = mssh_read_string(reader);
    fields->extensions = mssh_read_string(reader);
    (void)mssh_read_string(reader);
    fields->authority = mssh_read_string(reader);
    *signature = mssh_read_string(reader);
    if (!mssh_reader_done(reader))
        return damaged(failure, "cut short, or with something left over");
    if (use != MSSH_CERTIFICATE_USER && use != MSSH_CERTIFICATE_HOST)
        return damaged(failure, "neither for a user nor for a host");
    fields->use = (mssh_certificate_use)use;
    if (!are_strings(fields->principals, 1, PRINCIPALS_MAX))
        return damaged(failure, "its principals are out of form, or more than 256");
    if (!are_strings(fields->critical, 2, SIZE_MAX) || !are_strings(fields->extensions, 2, SIZE_MAX))
        return damaged(failure, "its options are out of form");
    return 0;
}

/* Whether the authority has signed what stands before its signature. The authority's key is a plain one: a
 * certificate signed by a certificate would lead from one to the next. SHA-1 is not taken here, whatever is
 * else. */
static int check_signature(mssh_mem *mem, mssh_slice blob, mssh_certificate *fields, mssh_slice signature,
                           mssh_failure *failure)
{
    mssh_slice body = mssh_slice_of(blob.data, (size_t)(signature.data - blob.data) - 4);
    mssh_reader reader = mssh_reader_of(fields->authority);
    mssh_reader names = mssh_reader_of(signature);
    const mssh_sig_algorithm *algorithm;
    mssh_key *authority = NULL;
    int rc;

    if (mssh_key_type_find(mssh_read_string(&reader)) == NULL)
        return damaged(failure, "signed by a key of a type that cannot be an authority's");
    fields->signed_as = mssh_read_string(&names);
    algorithm = mssh_sig_algorithm_find(fields->signed_as);
    if (algorithm == NULL || algorithm->hash == MSSH_HASH_SHA1)
        return damaged(failure, "signed with an algorithm that is not accepted");
    rc = mssh_key_parse_public(mem, fields->authority, &authority, failure);
    if (rc != 0)
        return rc;
    rc = mssh_key_verify(authority, fields->signed_as, body, signature);
    mssh_key_free(authority);
    return rc == 0 ? 0 : damaged(failure, "its authority's signature is not valid");
}

/* The same place in `copy` as the view has in `original`. */
static mssh_slice moved(mssh_slice view, mssh_slice original, mssh_slice copy)
{
    return view.len == 0 ? MSSH_SLICE_EMPTY
                         : mssh_slice_of(copy.data + (view.data - original.data), view.len);
}

/* Gives a key its certificate: the blob is copied, and the views moved to the copy. */
static int attach(mssh_key *key, mssh_slice blob, const mssh_certificate *fields)
{
    mssh_slice copy;
    int rc = mssh_buf_append(&key->certified, blob.data, blob.len);

    if (rc != 0)
        return rc;
    copy = mssh_buf_slice(&key->certified);
    key->certificate = *fields;
    key->certificate.key_id = moved(fields->key_id, blob, copy);
    key->certificate.principals = moved(fields->principals, blob, copy);
    key->certificate.critical = moved(fields->critical, blob, copy);
    key->certificate.extensions = moved(fields->extensions, blob, copy);
    key->certificate.authority = moved(fields->authority, blob, copy);
    key->certificate.signed_as = moved(fields->signed_as, blob, copy);
    return 0;
}

/* string type, string nonce, the fields of the public key, then those of read_fields. */
int mssh_certificate_parse(mssh_mem *mem, const mssh_key_kind *type, mssh_slice blob, mssh_key **key,
                           mssh_failure *failure)
{
    mssh_slice parts[MSSH_KEY_PARTS_MAX] = {MSSH_SLICE_EMPTY};
    mssh_reader reader = mssh_reader_of(blob);
    mssh_certificate fields = {.serial = 0};
    mssh_slice signature;
    mssh_key *made = NULL;
    int rc;

    (void)mssh_read_string(&reader);
    (void)mssh_read_string(&reader);
    type->read_public(type, &reader, parts);
    rc = read_fields(&reader, &fields, &signature, failure);
    if (rc == 0)
        rc = check_signature(mem, blob, &fields, signature, failure);
    if (rc == 0)
        rc = mssh_key_from_parts(mem, type, parts, false, &made, failure);
    if (rc != 0)
        return rc;
    rc = attach(made, blob, &fields);
    if (rc != 0) {
        mssh_key_free(made);
        return mssh_fail(failure, rc, 0, "certificate: %s", mssh_err_name(rc));
    }
    *key = made;
    return 0;
}
