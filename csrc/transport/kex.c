#include "transport/kex.h"

#include "wire/messages.h"
#include "wire/writer.h"

enum {
    MOST_TRANSCRIPT = 256 * 1024, /* two identifications and two KEXINITs */
    MOST_BLOB = 16 * 1024,
    MOST_MESSAGE = 64 * 1024,
};

/* One row a flow. */
static const struct {
    int (*start)(mssh_kex *kex, mssh_failure *failure);
    int (*handle)(mssh_kex *kex, mssh_slice payload, mssh_failure *failure);
} flows[] = {
    [MSSH_FLOW_BASIC] = {mssh_kex_basic_start, mssh_kex_basic_handle},
    [MSSH_FLOW_GEX] = {mssh_kex_gex_start, mssh_kex_gex_handle},
};

void mssh_kex_init(mssh_kex *kex, mssh_mem *mem, mssh_role role)
{
    memset(kex, 0, sizeof *kex);
    kex->mem = mem;
    kex->role = role;
    mssh_buf_init(&kex->transcript, mem, MOST_TRANSCRIPT);
    mssh_buf_init(&kex->host_key_blob, mem, MOST_BLOB);
    mssh_buf_init(&kex->signature, mem, MOST_BLOB);
    mssh_buf_init(&kex->group, mem, 2 * MSSH_KEM_PUBLIC_MAX + 32);
    mssh_buf_init(&kex->public_value, mem, MSSH_KEM_PUBLIC_MAX);
    mssh_buf_init(&kex->secret, mem, MSSH_KEM_SECRET_MAX + 8);
    mssh_buf_init(&kex->message, mem, MOST_MESSAGE);
}

void mssh_kex_free(mssh_kex *kex)
{
    mssh_kem_free(kex->kem);
    mssh_buf_free(&kex->transcript);
    mssh_buf_free(&kex->host_key_blob);
    mssh_buf_free(&kex->signature);
    mssh_buf_free(&kex->group);
    mssh_buf_free(&kex->public_value);
    mssh_buf_free(&kex->secret);
    mssh_buf_free(&kex->message);
    mssh_wipe(kex->hash, sizeof kex->hash);
    mssh_kex_init(kex, kex->mem, kex->role);
}

int mssh_kex_start(mssh_kex *kex, mssh_failure *failure)
{
    return flows[kex->method->flow].start(kex, failure);
}

int mssh_kex_handle(mssh_kex *kex, mssh_slice payload, mssh_failure *failure)
{
    return flows[kex->method->flow].handle(kex, payload, failure);
}

size_t mssh_kex_hash_len(const mssh_kex *kex)
{
    return mssh_hash_len(kex->method->hash);
}

int mssh_kex_reject(mssh_failure *failure, const char *why)
{
    return mssh_fail(failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED, "key exchange: %s",
                     why);
}

/* An error of the layers below: what the peer did wrong ends with DISCONNECT 3 too, the rest is ours. */
static int pass_on(mssh_failure *failure, int code, const char *what)
{
    if (code == MSSH_ERR_PROTOCOL || code == MSSH_ERR_KEY_FORMAT)
        return mssh_kex_reject(failure, what);
    return mssh_fail(failure, code, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED, "key exchange: %s: %s", what,
                     mssh_err_name(code));
}

/* H = HASH(V_C, V_S, I_C, I_S, K_S, then what the group exchange adds, the client's public value, the
 * server's, K), each in its wire form: a public value enters as a string or an mpint, which for the content
 * that the KEM gives are the same bytes. */
static int compute_hash(mssh_kex *kex, mssh_slice server_public, mssh_failure *failure)
{
    mssh_slice blob = mssh_buf_slice(&kex->host_key_blob);
    mssh_slice client_public = mssh_buf_slice(&kex->public_value);
    uint8_t lengths[3][4];
    int r;

    mssh_store_u32(lengths[0], (uint32_t)blob.len);
    mssh_store_u32(lengths[1], (uint32_t)client_public.len);
    mssh_store_u32(lengths[2], (uint32_t)server_public.len);
    {
        mssh_slice parts[] = {
            mssh_buf_slice(&kex->transcript),
            mssh_slice_of(lengths[0], 4),
            blob,
            mssh_buf_slice(&kex->group),
            mssh_slice_of(lengths[1], 4),
            client_public,
            mssh_slice_of(lengths[2], 4),
            server_public,
            mssh_buf_slice(&kex->secret),
        };
        r = mssh_hash(kex->method->hash, parts, sizeof parts / sizeof parts[0], kex->hash);
    }
    return r == 0 ? 0 : pass_on(failure, r, "the exchange hash cannot be computed");
}

/* K as it enters H and the KDF: an mpint (RFC 4253 8), of a hybrid a string. */
static void write_secret(mssh_kex *kex, mssh_slice raw)
{
    if (kex->method->hybrid)
        mssh_write_string(&kex->secret, raw);
    else
        mssh_write_mpint(&kex->secret, raw);
}

int mssh_kex_offer(mssh_kex *kex, uint8_t number, mssh_failure *failure)
{
    int r = mssh_kem_keypair(kex->kem, &kex->public_value);

    if (r != 0)
        return pass_on(failure, r, "no key pair could be made");
    mssh_write_u8(&kex->message, number);
    mssh_write_string(&kex->message, mssh_buf_slice(&kex->public_value));
    if (kex->message.error != 0)
        return pass_on(failure, kex->message.error, "no message could be made");
    return 0;
}

/* Checks that the host key is of the negotiated type and has signed H (RFC 4253 8, RFC 8332 3). */
static int verify(mssh_kex *kex, mssh_slice signature, mssh_failure *failure)
{
    mssh_slice algorithm = mssh_slice_of_text(kex->host_key_algorithm);
    const mssh_sig_algorithm *row = mssh_sig_algorithm_find(algorithm);
    mssh_failure why = {.code = 0};
    mssh_key *key = NULL;
    int r;

    if (row == NULL)
        return pass_on(failure, MSSH_ERR_UNSUPPORTED, "the kind of host key is not known");
    r = mssh_key_parse_public_from(kex->mem, mssh_buf_slice(&kex->host_key_blob), kex->min_rsa_bits, &key,
                                   &why);
    if (r == MSSH_ERR_KEY_FORMAT || r == MSSH_ERR_PROTOCOL)
        return mssh_fail(failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED,
                         "key exchange: the host key is not valid: %s", why.message);
    if (r != 0)
        return pass_on(failure, r, "the host key cannot be read");
    if (!mssh_slice_is(mssh_slice_of_text(mssh_key_type(key)), row->key_type)) {
        r = mssh_kex_reject(failure, "the host key is not of the negotiated kind");
    } else {
        r = mssh_key_verify(key, algorithm, mssh_slice_of(kex->hash, mssh_kex_hash_len(kex)), signature);
        if (r != 0)
            r = pass_on(failure, r, "the host key's signature is not valid");
    }
    mssh_key_free(key);
    return r;
}

int mssh_kex_conclude(mssh_kex *kex, mssh_reader *reader, mssh_failure *failure)
{
    mssh_buf raw;
    mssh_slice blob = mssh_read_string(reader);
    mssh_slice server_public = mssh_read_string(reader);
    mssh_slice signature = mssh_read_string(reader);
    int r;

    if (!mssh_reader_done(reader))
        return mssh_kex_reject(failure, "the server's reply is cut short or too long");
    if (blob.len > MOST_BLOB)
        return mssh_kex_reject(failure, "the host key is too long");
    mssh_buf_init(&raw, kex->mem, MSSH_KEM_SECRET_MAX);
    r = mssh_kem_decapsulate(kex->kem, server_public, &raw);
    if (r != 0) {
        r = pass_on(failure, r, "the server's public value is not valid");
        goto out;
    }
    write_secret(kex, mssh_buf_slice(&raw));
    mssh_write_bytes(&kex->host_key_blob, blob);
    if (kex->secret.error != 0 || kex->host_key_blob.error != 0) {
        r = pass_on(failure, MSSH_ERR_MEMORY, "the reply cannot be kept");
        goto out;
    }
    r = compute_hash(kex, server_public, failure);
    if (r == 0)
        r = verify(kex, signature, failure);
    if (r == 0 && mssh_buf_append(&kex->signature, signature.data, signature.len) != 0)
        r = pass_on(failure, kex->signature.error, "the reply cannot be kept");
    if (r == 0)
        kex->expected = 0;
out:
    mssh_buf_free(&raw);
    return r;
}

int mssh_kex_respond(mssh_kex *kex, mssh_reader *reader, uint8_t number, mssh_failure *failure)
{
    mssh_slice client_public = mssh_read_string(reader);
    mssh_buf server_public;
    mssh_buf signature;
    mssh_buf raw;
    int r;

    if (!mssh_reader_done(reader))
        return mssh_kex_reject(failure, "the client's message is cut short or too long");
    if (client_public.len > MSSH_KEM_PUBLIC_MAX)
        return mssh_kex_reject(failure, "the client's public value is too long");
    mssh_buf_init(&server_public, kex->mem, MSSH_KEM_PUBLIC_MAX);
    mssh_buf_init(&signature, kex->mem, MOST_BLOB);
    mssh_buf_init(&raw, kex->mem, MSSH_KEM_SECRET_MAX);
    r = mssh_kem_encapsulate(kex->kem, client_public, &server_public, &raw);
    if (r != 0) {
        r = pass_on(failure, r, "the client's public value is not valid");
        goto out;
    }
    write_secret(kex, mssh_buf_slice(&raw));
    mssh_write_bytes(&kex->host_key_blob, mssh_key_blob(kex->host_key));
    mssh_write_bytes(&kex->public_value, client_public);
    if (kex->secret.error != 0 || kex->host_key_blob.error != 0 || kex->public_value.error != 0) {
        r = pass_on(failure, MSSH_ERR_MEMORY, "the message cannot be kept");
        goto out;
    }
    r = compute_hash(kex, mssh_buf_slice(&server_public), failure);
    if (r != 0)
        goto out;
    r = mssh_key_sign(kex->host_key, mssh_slice_of_text(kex->host_key_algorithm),
                      mssh_slice_of(kex->hash, mssh_kex_hash_len(kex)), &signature);
    if (r != 0) {
        r = pass_on(failure, r, "the host key cannot sign");
        goto out;
    }
    mssh_write_u8(&kex->message, number);
    mssh_write_string(&kex->message, mssh_buf_slice(&kex->host_key_blob));
    mssh_write_string(&kex->message, mssh_buf_slice(&server_public));
    mssh_write_string(&kex->message, mssh_buf_slice(&signature));
    if (kex->message.error != 0)
        r = pass_on(failure, kex->message.error, "no message could be made");
    else
        kex->expected = 0;
out:
    mssh_buf_free(&server_public);
    mssh_buf_free(&signature);
    mssh_buf_free(&raw);
    return r;
}
