#include "transport/seal.h"

mssh_seal *mssh_seal_new(mssh_mem *mem, const mssh_cipher_row *cipher, const mssh_mac_row *mac, bool encrypt,
                         const mssh_seal_keys *keys)
{
    switch (cipher->kind) {
    case MSSH_SEAL_GCM:
        return mssh_seal_gcm_new(mem, cipher, encrypt, keys);
    case MSSH_SEAL_CHACHA:
        return mssh_seal_chacha_new(mem, keys);
    case MSSH_SEAL_MAC:
        break;
    }
    return mssh_seal_mac_new(mem, cipher, mac, encrypt, keys);
}

void mssh_seal_free(mssh_seal *seal)
{
    if (seal != NULL)
        seal->ops->free(seal);
}
