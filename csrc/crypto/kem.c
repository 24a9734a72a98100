#include "crypto/kem_ops.h"

#include "base/error.h"

static mssh_kem *kem_new(mssh_mem *mem, mssh_kem_id id, const mssh_kem_ops *ops)
{
    mssh_kem *kem = mssh_alloc(mem, sizeof *kem);

    if (kem != NULL) {
        kem->mem = mem;
        kem->id = id;
        kem->ops = ops;
    }
    return kem;
}

static mssh_kem *hybrid_new(mssh_mem *mem, mssh_kem_id id)
{
    mssh_kem *kem = kem_new(mem, id, &mssh_kem_hybrid_ops);

    if (kem != NULL && mssh_kem_hybrid_begin(kem) != 0) {
        mssh_kem_free(kem);
        kem = NULL;
    }
    return kem;
}

/* Over the group of the standards with this many bits. */
static mssh_kem *group_new(mssh_mem *mem, unsigned bits)
{
    unsigned group_bits[2] = {bits, bits};
    mssh_slice p, g;
    mssh_kem *kem = NULL;

    mssh_kem_standard_group(bits, &p, &g);
    return mssh_kem_new_group(mem, p, g, group_bits, &kem) == 0 ? kem : NULL;
}

mssh_kem *mssh_kem_new(mssh_mem *mem, mssh_kem_id id)
{
    switch (id) {
    case MSSH_KEM_X25519:
    case MSSH_KEM_P256:
    case MSSH_KEM_P384:
    case MSSH_KEM_P521:
        return kem_new(mem, id, &mssh_kem_curve_ops);
    case MSSH_KEM_MLKEM768_X25519:
    case MSSH_KEM_SNTRUP761_X25519:
        return hybrid_new(mem, id);
    case MSSH_KEM_DH1:
        return group_new(mem, 1024);
    case MSSH_KEM_DH14:
        return group_new(mem, 2048);
    case MSSH_KEM_DH15:
        return group_new(mem, 3072);
    case MSSH_KEM_DH16:
        return group_new(mem, 4096);
    case MSSH_KEM_DH17:
        return group_new(mem, 6144);
    case MSSH_KEM_DH18:
        return group_new(mem, 8192);
    case MSSH_KEM_DH_GROUP:
        break;
    }
    return NULL;
}

int mssh_kem_new_group(mssh_mem *mem, mssh_slice p, mssh_slice g, const unsigned bits[2], mssh_kem **kem)
{
    mssh_kem *made = kem_new(mem, MSSH_KEM_DH_GROUP, &mssh_kem_dh_ops);
    int rc;

    if (made == NULL)
        return MSSH_ERR_MEMORY;
    rc = mssh_kem_dh_set_group(made, p, g, bits);
    if (rc != 0)
        mssh_kem_free(made);
    else
        *kem = made;
    return rc;
}

void mssh_kem_free(mssh_kem *kem)
{
    if (kem == NULL)
        return;
    kem->ops->wipe(kem);
    mssh_free(kem->mem, kem, sizeof *kem);
}

int mssh_kem_keypair(mssh_kem *kem, mssh_buf *public_value)
{
    mssh_kem_value ours = {.len = 0};
    int rc;

    if (kem->has_keypair)
        return MSSH_ERR_STATE;
    rc = kem->ops->keypair(kem, &ours);
    if (rc == 0)
        rc = mssh_buf_append(public_value, ours.bytes, ours.len);
    kem->has_keypair = rc == 0;
    mssh_wipe_stack();
    return rc;
}

int mssh_kem_encapsulate(mssh_kem *kem, mssh_slice peer, mssh_buf *public_value, mssh_buf *secret)
{
    mssh_kem_value ours = {.len = 0};
    mssh_kem_value shared = {.len = 0};
    int rc;

    if (kem->has_keypair)
        return MSSH_ERR_STATE;
    if (kem->ops->encapsulate != NULL) {
        rc = kem->ops->encapsulate(kem, peer, &ours, &shared);
    } else {
        rc = kem->ops->keypair(kem, &ours);
        if (rc == 0)
            rc = kem->ops->derive(kem, peer, &shared);
    }
    if (rc == 0)
        rc = mssh_buf_append(public_value, ours.bytes, ours.len);
    if (rc == 0)
        rc = mssh_buf_append(secret, shared.bytes, shared.len);
    kem->has_keypair = true;
    mssh_wipe(&shared, sizeof shared);
    mssh_wipe_stack();
    return rc;
}

int mssh_kem_decapsulate(mssh_kem *kem, mssh_slice peer, mssh_buf *secret)
{
    mssh_kem_value shared = {.len = 0};
    int rc;

    if (!kem->has_keypair)
        return MSSH_ERR_STATE;
    rc = kem->ops->derive(kem, peer, &shared);
    if (rc == 0)
        rc = mssh_buf_append(secret, shared.bytes, shared.len);
    mssh_wipe(&shared, sizeof shared);
    mssh_wipe_stack();
    return rc;
}
