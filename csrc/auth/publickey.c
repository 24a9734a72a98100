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

void mssh_auth_signing_data(mssh_slice session_id, mssh_slice user, mssh_slice algorithm, mssh_slice blob,
                            mssh_buf *out)
{
    mssh_write_string(out, session_id);
    mssh_write_u8(out, MSSH_MSG_USERAUTH_REQUEST);
    mssh_write_string(out, user);
    mssh_write_text(out, "ssh-connection");
    mssh_write_text(out, "publickey");
    mssh_write_bool(out, true);
    mssh_write_string(out, algorithm);
    mssh_write_string(out, blob);
}

/* RFC 4252 7: boolean TRUE, string algorithm, string public key blob, string signature */
int mssh_auth_publickey(mssh_auth *auth, mssh_slice user, mssh_slice algorithm, mssh_slice blob,
                        mssh_slice signature)
{
    mssh_buf message;
    int err = mssh_auth_begin(auth, MSSH_AUTH_BY_PUBLICKEY, user, &message);

    if (err == 0) {
        mssh_write_bool(&message, true);
        mssh_write_string(&message, algorithm);
        mssh_write_string(&message, blob);
        mssh_write_string(&message, signature);
        err = mssh_auth_submit(auth, MSSH_AUTH_BY_PUBLICKEY, &message);
    }
    mssh_buf_free(&message);
    return err;
}
