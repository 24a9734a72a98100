#include "auth/methods.h"

static const mssh_auth_method methods[MSSH_AUTH_N_KINDS] = {
    [MSSH_AUTH_BY_NONE] = {"none", "none", true, NULL},
    [MSSH_AUTH_BY_PASSWORD] = {"password", "password", true, mssh_auth_handle_password_change},
    /* RFC 4252 7: the answer to a probe is PK_OK or FAILURE. Success without a signature would let a server
     * skip the only step in which we prove anything. */
    [MSSH_AUTH_BY_PROBE] = {"publickey", "public key probe", false, mssh_auth_handle_pk_ok},
    [MSSH_AUTH_BY_PUBLICKEY] = {"publickey", "publickey", true, NULL},
    [MSSH_AUTH_BY_HOSTBOUND] = {"publickey-hostbound-v00@openssh.com", "publickey", true, NULL},
    [MSSH_AUTH_BY_HOST] = {"hostbased", "hostbased", true, NULL},
    [MSSH_AUTH_BY_INTERACTIVE] = {"keyboard-interactive", "keyboard-interactive", true,
                                  mssh_auth_handle_prompts},
};

const mssh_auth_method *mssh_auth_method_of(mssh_auth_kind kind)
{
    return &methods[kind];
}
