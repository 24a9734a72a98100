/*
 * crypto.kem and what belongs to it. What fails returns nil and the error's code.
 *
 *   crypto.kem(name, p, g, {min, max}, heap) -> object; the name is x25519, p256, p384, p521, dh14, dh16, or
 * group with its prime, generator and bounds in bits keypair() -> public value encapsulate(peer) -> public
 * value, secret decapsulate(peer) -> secret                  close() set_private(bytes, public value) of a
 * curve: instead of keypair, for known answers crypto.standard_group(bits) -> p, g             as the server
 * role offers it crypto.openssl_group(bits) -> p                 RFC 3526's, as OpenSSL has it
 */
#include "base/error.h"
#include "crypto/kem_ops.h"
#include "crypto/pkey_ops.h"
#include "testing/heap.h"
#include "testing/util.h"

#include <openssl/evp.h>

#define KEM "moonssh_testing.kem"

typedef struct kem_box {
    mssh_kem *kem;
} kem_box;

static mssh_kem *check_kem(lua_State *L)
{
    kem_box *box = luaL_checkudata(L, 1, KEM);
    luaL_argcheck(L, box->kem != NULL, 1, "closed");
    return box->kem;
}

static unsigned bound(lua_State *L, int i)
{
    unsigned bits;

    luaL_checktype(L, 4, LUA_TTABLE);
    lua_rawgeti(L, 4, i);
    bits = (unsigned)luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return bits;
}

static int new_kem(lua_State *L)
{
    static const char *const names[] = {"x25519", "p256", "p384", "p521",  "dh1",   "dh14",   "dh15",
                                        "dh16",   "dh17", "dh18", "group", "mlkem", "sntrup", NULL};
    static const mssh_kem_id ids[] = {
        MSSH_KEM_X25519,
        MSSH_KEM_P256,
        MSSH_KEM_P384,
        MSSH_KEM_P521,
        MSSH_KEM_DH1,
        MSSH_KEM_DH14,
        MSSH_KEM_DH15,
        MSSH_KEM_DH16,
        MSSH_KEM_DH17,
        MSSH_KEM_DH18,
        MSSH_KEM_DH_GROUP,
        MSSH_KEM_MLKEM768_X25519,
        MSSH_KEM_SNTRUP761_X25519,
    };
    mssh_kem_id id = ids[luaL_checkoption(L, 1, NULL, names)];
    mssh_mem *mem;
    kem_box *box;
    int rc = 0;

    lua_settop(L, 5);
    box = lua_newuserdatauv(L, sizeof *box, 1);
    box->kem = NULL;
    mem = mssh_testing_heap_use(L, 5);
    luaL_setmetatable(L, KEM);
    if (id == MSSH_KEM_DH_GROUP) {
        unsigned bits[2] = {bound(L, 1), bound(L, 2)};
        rc = mssh_kem_new_group(mem, mssh_testing_slice(L, 2), mssh_testing_slice(L, 3), bits, &box->kem);
    } else {
        box->kem = mssh_kem_new(mem, id);
        rc = box->kem != NULL ? 0 : MSSH_ERR_MEMORY;
    }
    return rc == 0 ? 1 : mssh_testing_push_error(L, rc, NULL);
}

static int kem_keypair(lua_State *L)
{
    mssh_kem *kem = check_kem(L);
    mssh_buf out;

    mssh_buf_init(&out, kem->mem, MSSH_KEM_PUBLIC_MAX);
    return mssh_testing_push_buf(L, mssh_kem_keypair(kem, &out), &out);
}

static int kem_encapsulate(lua_State *L)
{
    mssh_kem *kem = check_kem(L);
    mssh_slice peer = mssh_testing_slice(L, 2);
    mssh_buf public_value, secret;
    int rc;

    mssh_buf_init(&public_value, kem->mem, MSSH_KEM_PUBLIC_MAX);
    mssh_buf_init(&secret, kem->mem, MSSH_KEM_SECRET_MAX);
    rc = mssh_kem_encapsulate(kem, peer, &public_value, &secret);
    if (rc != 0) {
        mssh_buf_free(&secret);
        return mssh_testing_push_buf(L, rc, &public_value);
    }
    return mssh_testing_push_buf(L, rc, &public_value) + mssh_testing_push_buf(L, rc, &secret);
}

static int kem_decapsulate(lua_State *L)
{
    mssh_kem *kem = check_kem(L);
    mssh_slice peer = mssh_testing_slice(L, 2);
    mssh_buf secret;

    mssh_buf_init(&secret, kem->mem, MSSH_KEM_SECRET_MAX);
    return mssh_testing_push_buf(L, mssh_kem_decapsulate(kem, peer, &secret), &secret);
}

static int kem_set_private(lua_State *L)
{
    static const char *const groups[] = {NULL, "prime256v1", "secp384r1", "secp521r1"};
    static const mssh_pkey_kind kinds[] = {MSSH_PKEY_ED25519, MSSH_PKEY_P256, MSSH_PKEY_P384, MSSH_PKEY_P521};
    mssh_kem *kem = check_kem(L);
    mssh_slice secret = mssh_testing_slice(L, 2);
    mssh_slice parts[2] = {mssh_testing_opt_slice(L, 3), secret};
    EVP_PKEY *pair = NULL;

    luaL_argcheck(L, kem->id <= MSSH_KEM_P521, 1, "not a curve");
    if (groups[kem->id] == NULL)
        pair = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, secret.data, secret.len);
    else if (mssh_pkey_ec_build(&mssh_pkey_rows[kinds[kem->id]], parts, true, &pair) != 0)
        pair = NULL;
    luaL_argcheck(L, pair != NULL, 2, "not a private key");
    EVP_PKEY_free(kem->state);
    kem->state = pair;
    kem->has_keypair = true;
    return 0;
}

static int kem_gc(lua_State *L)
{
    kem_box *box = luaL_checkudata(L, 1, KEM);

    mssh_kem_free(box->kem);
    box->kem = NULL;
    return 0;
}

static int standard_group(lua_State *L)
{
    mssh_slice p, g;

    mssh_kem_standard_group((unsigned)luaL_checkinteger(L, 1), &p, &g);
    lua_pushlstring(L, (const char *)p.data, p.len);
    lua_pushlstring(L, (const char *)g.data, g.len);
    return 2;
}

static int openssl_group(lua_State *L)
{
    static const struct {
        lua_Integer bits;
        BIGNUM *(*prime)(BIGNUM *);
    } groups[] = {
        {2048, BN_get_rfc3526_prime_2048}, {3072, BN_get_rfc3526_prime_3072},
        {4096, BN_get_rfc3526_prime_4096}, {6144, BN_get_rfc3526_prime_6144},
        {8192, BN_get_rfc3526_prime_8192},
    };
    unsigned char bytes[1024];
    lua_Integer bits = luaL_checkinteger(L, 1);

    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (groups[i].bits == bits) {
            BIGNUM *prime = groups[i].prime(NULL);
            int len = prime != NULL ? BN_bn2bin(prime, bytes) : 0;
            BN_free(prime);
            lua_pushlstring(L, (const char *)bytes, (size_t)len);
            return 1;
        }
    }
    return luaL_argerror(L, 1, "no such group");
}

static const luaL_Reg methods[] = {
    {"keypair", kem_keypair},
    {"encapsulate", kem_encapsulate},
    {"decapsulate", kem_decapsulate},
    {"set_private", kem_set_private},
    {"close", kem_gc},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"kem", new_kem},
    {"standard_group", standard_group},
    {"openssl_group", openssl_group},
    {NULL, NULL},
};

void mssh_testing_add_kem(lua_State *L)
{
    mssh_testing_new_class(L, KEM, methods, kem_gc);
    luaL_setfuncs(L, functions, 0);
}
