#include "auth/methods.h"

/* RFC 4252 8: boolean FALSE, string password; or, after PASSWD_CHANGEREQ: boolean TRUE, string old password,
 * string new password */
int mssh_auth_password(mssh_auth *auth, mssh_slice user, mssh_slice password, mssh_slice new_password)
{
    bool change = new_password.data != NULL;
    mssh_buf message;
    int err;

    if (change && !auth->change_open)
        return MSSH_ERR_STATE;
    err = mssh_auth_begin(auth, MSSH_AUTH_BY_PASSWORD, user, &message);
    if (err == 0) {
        mssh_write_bool(&message, change);
        mssh_write_string(&message, password);
        if (change)
            mssh_write_string(&message, new_password);
        err = mssh_auth_submit(auth, MSSH_AUTH_BY_PASSWORD, &message);
    }
    mssh_buf_free(&message);
    return err;
}

/* USERAUTH_PASSWD_CHANGEREQ (RFC 4252 8): string prompt, string language tag */
int mssh_auth_handle_password_change(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event)
{
    mssh_slice prompt = mssh_read_string(reader);
    mssh_slice language = mssh_read_string(reader);

    if (!mssh_reader_done(reader))
        return mssh_auth_malformed(auth, "USERAUTH_PASSWD_CHANGEREQ");
    auth->asked = NULL;
    auth->change_open = true;
    event->type = MSSH_AUTH_PASSWORD_CHANGE;
    event->text = prompt;
    event->language = language;
    return 0;
}
