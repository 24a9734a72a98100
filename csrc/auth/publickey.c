#include "auth/methods.h"
#include "wire/messages.h"

/* RFC 4252 7: boolean FALSE, string algorithm, string public key blob */
int mssh_auth_probe(mssh_auth *auth, mssh_slice user, mssh_slice algorithm, mssh_slice blob)
{
    mssh_buf message;
    int err = mssh_auth_begin(auth, MSSH_AUTH_BY_PROBE, user, &message);

    if (err == 0) {
        mssh_buf_clear(&auth->probed);
        mssh_write_string(&auth->probed, algorithm);
        mssh_write_string(&auth->probed, blob);
        mssh_write_bool(&message, false);
        mssh_write_bytes(&message, mssh_buf_slice(&auth->probed));
        err = auth->probed.error != 0 ? auth->probed.error
                                      : mssh_auth_submit(auth, MSSH_AUTH_BY_PROBE, &message);
    }
    mssh_buf_free(&message);
    return err;
}

/* USERAUTH_PK_OK (RFC 4252 7): string algorithm, string public key blob, both as in the request */
int mssh_auth_handle_pk_ok(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event)
{
    mssh_slice key = mssh_read_rest(reader);

    /* The bytes must be the very ones we sent, and with that they are well formed. */
    if (!mssh_slice_equals(key, mssh_buf_slice(&auth->probed)))
        return mssh_fail(auth->failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR,
                         "USERAUTH_PK_OK is not for the key that was asked about");
    auth->asked = NULL;
    event->type = MSSH_AUTH_PK_OK;
    return 0;
}

mssh_auth_kind mssh_auth_kind_of(const mssh_auth_claim *claim)
{
    if (claim->host.len > 0)
        return MSSH_AUTH_BY_HOST;
    return claim->server_key.len > 0 ? MSSH_AUTH_BY_HOSTBOUND : MSSH_AUTH_BY_PUBLICKEY;
}

/* What a request has between the method's name and the signature.
 * RFC 4252 7: boolean TRUE, string algorithm, string public key blob; host-bound also string server host key.
 * RFC 4252 9: string algorithm, string host key blob, string client host name, string user name on it. */
static void write_claim(const mssh_auth_claim *claim, mssh_buf *out)
{
    mssh_auth_kind kind = mssh_auth_kind_of(claim);

    if (kind != MSSH_AUTH_BY_HOST)
        mssh_write_bool(out, true);
    mssh_write_string(out, claim->algorithm);
    mssh_write_string(out, claim->blob);
    if (kind == MSSH_AUTH_BY_HOSTBOUND)
        mssh_write_string(out, claim->server_key);
    if (kind == MSSH_AUTH_BY_HOST) {
        mssh_write_string(out, claim->host);
        mssh_write_string(out, claim->host_user);
    }
}

void mssh_auth_signing_data(mssh_slice session_id, const mssh_auth_claim *claim, mssh_buf *out)
{
    mssh_write_string(out, session_id);
    mssh_write_u8(out, MSSH_MSG_USERAUTH_REQUEST);
    mssh_write_string(out, claim->user);
    mssh_write_text(out, "ssh-connection");
    mssh_write_text(out, mssh_auth_method_of(mssh_auth_kind_of(claim))->name);
    write_claim(claim, out);
}

static int send_claim(mssh_auth *auth, const mssh_auth_claim *claim, mssh_slice signature)
{
    mssh_auth_kind kind = mssh_auth_kind_of(claim);
    mssh_buf message;
    int err = mssh_auth_begin(auth, kind, claim->user, &message);

    if (err == 0) {
        write_claim(claim, &message);
        mssh_write_string(&message, signature);
        err = mssh_auth_submit(auth, kind, &message);
    }
    mssh_buf_free(&message);
    return err;
}

int mssh_auth_publickey(mssh_auth *auth, const mssh_auth_claim *claim, mssh_slice signature)
{
    return mssh_auth_kind_of(claim) == MSSH_AUTH_BY_HOST ? MSSH_ERR_STATE
                                                         : send_claim(auth, claim, signature);
}

int mssh_auth_hostbased(mssh_auth *auth, const mssh_auth_claim *claim, mssh_slice signature)
{
    return mssh_auth_kind_of(claim) == MSSH_AUTH_BY_HOST ? send_claim(auth, claim, signature)
                                                         : MSSH_ERR_STATE;
}
