/* Key files: finds out what a text is, and hands it to the format's reader. */
#include "keys/base64.h"
#include "keys/type.h"

enum { TEXT_MAX = 1 << 20 };

bool mssh_file_next_line(mssh_slice *rest, mssh_slice *line)
{
    const uint8_t *end;

    if (rest->len == 0)
        return false;
    end = memchr(rest->data, '\n', rest->len);
    *line = mssh_slice_of(rest->data, end == NULL ? rest->len : (size_t)(end - rest->data));
    *rest = mssh_slice_of(rest->data + line->len, rest->len - line->len);
    if (end != NULL)
        *rest = mssh_slice_of(rest->data + 1, rest->len - 1);
    if (line->len > 0 && line->data[line->len - 1] == '\r')
        line->len--;
    return true;
}

static bool starts_with(mssh_slice text, const char *start)
{
    size_t len = strlen(start);
    return text.len >= len && mssh_slice_is(mssh_slice_of(text.data, len), start);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Takes the next word off *line; blanks within double quotes belong to it, as in the options of
 * authorized_keys. */
static mssh_slice next_word(mssh_slice *line)
{
    mssh_slice word;
    bool quoted = false;
    size_t i = 0;

    while (i < line->len && is_blank(line->data[i]))
        i++;
    *line = mssh_slice_of(line->data + i, line->len - i);
    for (i = 0; i < line->len && (quoted || !is_blank(line->data[i])); i++) {
        if (line->data[i] == '\\' && i + 1 < line->len && line->data[i + 1] == '"')
            i++;
        else if (line->data[i] == '"')
            quoted = !quoted;
    }
    word = mssh_slice_of(line->data, i);
    *line = mssh_slice_of(line->data + i, line->len - i);
    return word;
}

static mssh_slice trimmed(mssh_slice text)
{
    while (text.len > 0 && is_blank(text.data[0]))
        text = mssh_slice_of(text.data + 1, text.len - 1);
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

static int no_key(mssh_failure *failure)
{
    return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "not a key");
}

/* A public key from its base64; `name` is the type that stands beside it, if one does. */
static int parse_encoded(mssh_mem *mem, mssh_slice name, mssh_slice text, mssh_slice comment, mssh_key **key,
                         mssh_failure *failure)
{
    mssh_key *made = NULL;
    mssh_slice stated;
    mssh_buf blob;
    mssh_reader reader;
    int rc;

    mssh_buf_init(&blob, mem, TEXT_MAX);
    rc = mssh_base64_decode(text, &blob);
    if (rc != 0) {
        rc = mssh_fail(failure, rc, 0, "damaged public key: not base64");
        goto out;
    }
    reader = mssh_reader_of(mssh_buf_slice(&blob));
    stated = mssh_read_string(&reader);
    if (name.len > 0 && mssh_reader_ok(&reader) && !mssh_slice_equals(stated, name)) {
        rc = mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "damaged public key: of another type than it says");
        goto out;
    }
    rc = mssh_key_parse_public(mem, mssh_buf_slice(&blob), &made, failure);
    if (rc != 0)
        goto out;
    rc = mssh_key_set_comment(made, comment);
    if (rc == 0) {
        *key = made;
    } else {
        mssh_key_free(made);
        rc = mssh_fail(failure, rc, 0, "public key with a comment too long");
    }
out:
    mssh_buf_free(&blob);
    return rc;
}

/* Whether a word is the name of a key type, known or not: the blob behind it begins with the same name. */
static bool is_type(mssh_mem *mem, mssh_slice word, mssh_slice line)
{
    mssh_reader reader;
    mssh_buf blob;
    bool same = mssh_key_type_find(word) != NULL;

    if (same || word.len == 0)
        return same;
    mssh_buf_init(&blob, mem, TEXT_MAX);
    if (mssh_base64_decode(next_word(&line), &blob) == 0) {
        reader = mssh_reader_of(mssh_buf_slice(&blob));
        same = mssh_slice_equals(mssh_read_string(&reader), word);
    }
    mssh_buf_free(&blob);
    return same;
}

/* "type base64 comment", with the options of authorized_keys in front or without. */
static int parse_public_line(mssh_mem *mem, mssh_slice line, mssh_key **key, mssh_failure *failure)
{
    mssh_slice word = next_word(&line);
    mssh_slice encoded;

    if (!is_type(mem, word, line)) {
        word = next_word(&line);
        if (!is_type(mem, word, line))
            return no_key(failure);
    }
    encoded = next_word(&line);
    return parse_encoded(mem, word, encoded, trimmed(line), key, failure);
}

/* Takes a header "Name: value" of RFC 4716 (with its continuation lines) off *rest; its value without quotes
 * if the name is Comment. False where the body begins. */
static bool take_header(mssh_slice *rest, mssh_slice *comment)
{
    mssh_slice ahead = *rest;
    mssh_slice line, value;
    const uint8_t *colon;

    if (!mssh_file_next_line(&ahead, &line))
        return false;
    colon = line.len > 0 ? memchr(line.data, ':', line.len) : NULL;
    if (colon == NULL)
        return false;
    value = trimmed(mssh_slice_of(colon + 1, (size_t)(line.data + line.len - colon - 1)));
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
        value = mssh_slice_of(value.data + 1, value.len - 2);
    if (starts_with(line, "Comment:"))
        *comment = value;
    while (line.len > 0 && line.data[line.len - 1] == '\\' && mssh_file_next_line(&ahead, &line))
        continue;
    *rest = ahead;
    return true;
}

/* Whether `end` stands at the start of a line of *rest: then `body` is what comes before that line. */
static bool find_end(mssh_slice rest, const char *end, mssh_slice *body)
{
    mssh_slice all = rest;
    mssh_slice line;

    while (mssh_file_next_line(&rest, &line)) {
        if (starts_with(line, end) && trimmed(line).len == strlen(end)) {
            *body = mssh_slice_of(all.data, (size_t)(line.data - all.data));
            return true;
        }
    }
    return false;
}

static int parse_rfc4716(mssh_mem *mem, mssh_slice rest, mssh_key **key, mssh_failure *failure)
{
    mssh_slice comment = MSSH_SLICE_EMPTY;
    mssh_slice body;

    while (take_header(&rest, &comment))
        continue;
    if (!find_end(rest, "---- END SSH2 PUBLIC KEY ----", &body))
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "damaged public key: cut short");
    return parse_encoded(mem, MSSH_SLICE_EMPTY, body, comment, key, failure);
}

static int parse_openssh(mssh_mem *mem, mssh_slice rest, mssh_slice passphrase, mssh_key **key,
                         mssh_failure *failure)
{
    mssh_slice body;
    mssh_buf file;
    int rc;

    if (!find_end(rest, "-----END OPENSSH PRIVATE KEY-----", &body))
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "damaged OpenSSH private key: cut short");
    mssh_buf_init(&file, mem, TEXT_MAX);
    rc = mssh_base64_decode(body, &file);
    if (rc != 0)
        rc = mssh_fail(failure, rc, 0, "damaged OpenSSH private key: not base64");
    else
        rc = mssh_openssh_parse(mem, mssh_buf_slice(&file), passphrase, key, failure);
    mssh_buf_free(&file);
    return rc;
}

/* `text` begins with the armour. */
static int parse_pem(mssh_mem *mem, mssh_slice text, mssh_slice passphrase, mssh_key **key,
                     mssh_failure *failure)
{
    mssh_pkey *pkey = NULL;

    switch (mssh_pkey_from_pem(mem, text, passphrase, &pkey)) {
    case 0:
        return mssh_key_wrap(mem, pkey, key, failure);
    case MSSH_ERR_PASSPHRASE:
        return mssh_fail(failure, MSSH_ERR_PASSPHRASE, 0, "%s",
                         passphrase.data == NULL ? "this private key needs a passphrase"
                                                 : "wrong passphrase for this private key");
    case MSSH_ERR_LIMIT:
        return mssh_fail(failure, MSSH_ERR_LIMIT, 0, "private key with a key derivation that takes too long");
    case MSSH_ERR_UNSUPPORTED:
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "private key of a kind not supported");
    case MSSH_ERR_MEMORY:
        return mssh_fail(failure, MSSH_ERR_MEMORY, 0, "out of memory");
    default:
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "damaged PEM private key");
    }
}

/* Whether a line is "-----BEGIN … KEY-----". */
static bool begins_key(mssh_slice line)
{
    static const char end[] = " KEY-----";
    size_t len = sizeof end - 1;

    line = trimmed(line);
    return starts_with(line, "-----BEGIN ") && line.len >= len &&
           mssh_slice_is(mssh_slice_of(line.data + line.len - len, len), end);
}

/* `text` begins with a line "-----BEGIN …". */
static int parse_armoured(mssh_mem *mem, mssh_slice text, mssh_slice passphrase, mssh_key **key,
                          mssh_failure *failure)
{
    static const char *const pem_labels[] = {"RSA PRIVATE KEY-----", "EC PRIVATE KEY-----",
                                             "PRIVATE KEY-----", "ENCRYPTED PRIVATE KEY-----",
                                             "DSA PRIVATE KEY-----"};
    mssh_slice rest = text;
    mssh_slice line, label;

    (void)mssh_file_next_line(&rest, &line);
    line = trimmed(line);
    label = mssh_slice_of(line.data + strlen("-----BEGIN "), line.len - strlen("-----BEGIN "));
    if (mssh_slice_is(label, "OPENSSH PRIVATE KEY-----"))
        return parse_openssh(mem, rest, passphrase, key, failure);
    for (size_t i = 0; i < sizeof pem_labels / sizeof pem_labels[0]; i++)
        if (mssh_slice_is(label, pem_labels[i]))
            return parse_pem(mem, text, passphrase, key, failure);
    if (mssh_slice_is(label, "PUBLIC KEY-----") || mssh_slice_is(label, "RSA PUBLIC KEY-----"))
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0,
                         "PEM public keys are not supported: ssh-keygen -i converts");
    return no_key(failure);
}

int mssh_key_parse_file(mssh_mem *mem, mssh_slice text, mssh_slice passphrase, mssh_key **key,
                        mssh_failure *failure)
{
    mssh_slice rest = text;
    mssh_slice line;

    if (text.len > TEXT_MAX)
        return mssh_fail(failure, MSSH_ERR_KEY_FORMAT, 0, "not a key: too long for one");
    if (starts_with(text, "PuTTY-User-Key-File-"))
        return mssh_ppk_parse(mem, text, passphrase, key, failure);
    /* Text may stand before an armour, and other armour: openssl writes the parameters of a curve there. */
    while (mssh_file_next_line(&rest, &line)) {
        if (begins_key(line)) {
            mssh_slice armoured = mssh_slice_of(line.data, (size_t)(text.data + text.len - line.data));
            int rc = parse_armoured(mem, armoured, passphrase, key, failure);
            mssh_wipe_stack();
            return rc;
        }
        if (starts_with(line, "---- BEGIN SSH2 PUBLIC KEY ----"))
            return parse_rfc4716(mem, rest, key, failure);
    }
    rest = text;
    while (mssh_file_next_line(&rest, &line)) {
        line = trimmed(line);
        if (line.len > 0 && line.data[0] != '#')
            return parse_public_line(mem, line, key, failure);
    }
    return no_key(failure);
}
