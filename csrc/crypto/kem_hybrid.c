/* A post-quantum KEM together with X25519 (draft-ietf-sshm-mlkem-hybrid-kex, draft-ietf-sshm-ntruprime-ssh):
 * either of them alone keeps the secret. Public values are those of both, the post-quantum one first; the
 * secret is the hash of both secrets in that order. */
#include "crypto/kem_ops.h"

#include "base/error.h"
#include "crypto/hash.h"
#include "crypto/kem_pq.h"

enum { CURVE_LEN = 32 };

typedef struct hybrid_state {
    mssh_kem *curve;
    const mssh_pq_ops *pq;
    void *key; /* the post-quantum private half */
    mssh_hash_id hash;
} hybrid_state;

static void wipe(mssh_kem *kem)
{
    hybrid_state *state = kem->state;

    if (state == NULL)
        return;
    mssh_kem_free(state->curve);
    state->pq->free(kem->mem, state->key);
    mssh_free(kem->mem, state, sizeof *state);
    kem->state = NULL;
}

int mssh_kem_hybrid_begin(mssh_kem *kem)
{
    bool is_mlkem = kem->id == MSSH_KEM_MLKEM768_X25519;
    hybrid_state *state = mssh_alloc(kem->mem, sizeof *state);

    if (state == NULL)
        return MSSH_ERR_MEMORY;
    kem->state = state;
    state->pq = is_mlkem ? mssh_mlkem768_ops() : &mssh_sntrup761_ops;
    state->hash = is_mlkem ? MSSH_HASH_SHA256 : MSSH_HASH_SHA512;
    state->curve = mssh_kem_new(kem->mem, MSSH_KEM_X25519);
    return state->curve != NULL ? 0 : MSSH_ERR_MEMORY;
}

/* The curve's public value behind the first `len` bytes. */
static int append_curve(hybrid_state *state, mssh_kem_value *value, size_t len)
{
    mssh_kem_value ours = {.len = 0};
    int r = state->curve->ops->keypair(state->curve, &ours);

    if (r != 0)
        return r;
    memcpy(value->bytes + len, ours.bytes, CURVE_LEN);
    value->len = len + CURVE_LEN;
    return 0;
}

static int keypair(mssh_kem *kem, mssh_kem_value *public_value)
{
    hybrid_state *state = kem->state;
    int r = state->pq->keypair(kem->mem, &state->key, public_value->bytes);

    return r != 0 ? r : append_curve(state, public_value, state->pq->public_len);
}

/* The secret of what the post-quantum half gave and the peer's point. */
static int combine(hybrid_state *state, const uint8_t *pq_secret, mssh_slice point, mssh_kem_value *secret)
{
    mssh_kem_value shared = {.len = 0};
    mssh_slice parts[2];
    int r = state->curve->ops->derive(state->curve, point, &shared);

    parts[0] = mssh_slice_of(pq_secret, MSSH_PQ_SECRET_LEN);
    parts[1] = mssh_slice_of(shared.bytes, shared.len);
    if (r == 0)
        r = mssh_hash(state->hash, parts, 2, secret->bytes);
    if (r == 0)
        secret->len = mssh_hash_len(state->hash);
    mssh_wipe(&shared, sizeof shared);
    return r;
}

static int derive(mssh_kem *kem, mssh_slice peer, mssh_kem_value *secret)
{
    hybrid_state *state = kem->state;
    size_t len = state->pq->ciphertext_len;
    uint8_t pq_secret[MSSH_PQ_SECRET_LEN];
    int r;

    if (peer.len != len + CURVE_LEN)
        return MSSH_ERR_PROTOCOL;
    r = state->pq->decapsulate(kem->mem, state->key, peer.data, pq_secret);
    if (r == 0)
        r = combine(state, pq_secret, mssh_slice_of(peer.data + len, CURVE_LEN), secret);
    mssh_wipe(pq_secret, sizeof pq_secret);
    return r;
}

static int encapsulate(mssh_kem *kem, mssh_slice peer, mssh_kem_value *public_value, mssh_kem_value *secret)
{
    hybrid_state *state = kem->state;
    size_t len = state->pq->public_len;
    uint8_t pq_secret[MSSH_PQ_SECRET_LEN];
    int r;

    if (peer.len != len + CURVE_LEN)
        return MSSH_ERR_PROTOCOL;
    r = state->pq->encapsulate(kem->mem, peer.data, public_value->bytes, pq_secret);
    if (r == 0)
        r = append_curve(state, public_value, state->pq->ciphertext_len);
    if (r == 0)
        r = combine(state, pq_secret, mssh_slice_of(peer.data + len, CURVE_LEN), secret);
    mssh_wipe(pq_secret, sizeof pq_secret);
    return r;
}

const mssh_kem_ops mssh_kem_hybrid_ops = {keypair, derive, encapsulate, wipe};
