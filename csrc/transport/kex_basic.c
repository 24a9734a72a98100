#include "transport/kex.h"
#include "wire/messages.h"

int mssh_kex_basic_start(mssh_kex *kex, mssh_failure *failure)
{
    kex->kem = mssh_kem_new(kex->mem, kex->method->kem);
    if (kex->kem == NULL)
        return mssh_fail(failure, MSSH_ERR_MEMORY, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED,
                         "key exchange: cannot begin %s", kex->method->algorithm.name);
    if (kex->role == MSSH_SERVER) {
        kex->expected = MSSH_MSG_KEX_DH_INIT;
        return 0;
    }
    kex->expected = MSSH_MSG_KEX_DH_REPLY;
    return mssh_kex_offer(kex, MSSH_MSG_KEX_DH_INIT, failure);
}

/* Server: byte SSH_MSG_KEXDH_INIT or KEX_ECDH_INIT; mpint e or string Q_C.
 * Client: byte SSH_MSG_KEXDH_REPLY or KEX_ECDH_REPLY; string K_S; mpint f or string Q_S; string signature of
 * H */
int mssh_kex_basic_handle(mssh_kex *kex, mssh_slice payload, mssh_failure *failure)
{
    mssh_reader reader = mssh_reader_of(payload);

    (void)mssh_read_u8(&reader);
    if (kex->role == MSSH_SERVER)
        return mssh_kex_respond(kex, &reader, MSSH_MSG_KEX_DH_REPLY, failure);
    return mssh_kex_conclude(kex, &reader, failure);
}
