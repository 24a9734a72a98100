#include "auth/methods.h"

/* RFC 4252 5.2: no method-specific fields */
int mssh_auth_none(mssh_auth *auth, mssh_slice user)
{
    mssh_buf message;
    int err = mssh_auth_begin(auth, MSSH_AUTH_BY_NONE, user, &message);

    if (err == 0)
        err = mssh_auth_submit(auth, MSSH_AUTH_BY_NONE, &message);
    mssh_buf_free(&message);
    return err;
}
