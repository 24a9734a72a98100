#include "transport/seal.h"
#include "testing/heap.h"
#include "testing/transport.h"
#include "testing/util.h"
#include "transport/gate.h"
#include "transport/kdf.h"
#include "wire/writer.h"

#define SEAL "moonssh_testing.seal"

typedef struct seal_object {
    mssh_seal *seal;
    mssh_buf packet;
} seal_object;

static void copy_option(lua_State *L, const char *name, uint8_t *out, size_t size)
{
    mssh_slice value;

    lua_getfield(L, 1, name);
    value = mssh_testing_opt_slice(L, -1);
    if (value.len > 0)
        memcpy(out, value.data, value.len < size ? value.len : size);
    lua_pop(L, 1);
}

static const mssh_algorithm *find_option(lua_State *L, const char *name, mssh_algorithm_class cls)
{
    const mssh_algorithm *row;

    lua_getfield(L, 1, name);
    row = mssh_algorithm_find(cls, mssh_testing_opt_slice(L, -1));
    lua_pop(L, 1);
    return row;
}

/* transport.seal{cipher=, mac=, encrypt=, key=, iv=, mac_key=, heap=} -> seal; without a cipher the clear one
 */
static int seal_new(lua_State *L)
{
    const mssh_cipher_row *cipher;
    const mssh_mac_row *mac;
    mssh_seal_keys keys = {.iv = {0}};
    seal_object *self;
    mssh_mem *mem;
    bool encrypt;

    luaL_checktype(L, 1, LUA_TTABLE);
    cipher = (const mssh_cipher_row *)find_option(L, "cipher", MSSH_ALG_CIPHER);
    mac = (const mssh_mac_row *)find_option(L, "mac", MSSH_ALG_MAC);
    copy_option(L, "key", keys.key, sizeof keys.key);
    copy_option(L, "iv", keys.iv, sizeof keys.iv);
    copy_option(L, "mac_key", keys.mac_key, sizeof keys.mac_key);
    lua_getfield(L, 1, "encrypt");
    encrypt = lua_toboolean(L, -1);
    lua_getfield(L, 1, "heap");
    self = lua_newuserdatauv(L, sizeof *self, 1);
    memset(self, 0, sizeof *self);
    luaL_setmetatable(L, SEAL);
    mem = mssh_testing_heap_use(L, lua_gettop(L) - 1);
    mssh_buf_init(&self->packet, mem, 1 << 20);
    self->seal = cipher == NULL ? mssh_seal_clear_new(mem) : mssh_seal_new(mem, cipher, mac, encrypt, &keys);
    if (self->seal == NULL)
        return luaL_error(L, "the seal cannot be made");
    return 1;
}

static int seal_gc(lua_State *L)
{
    seal_object *self = luaL_checkudata(L, 1, SEAL);

    mssh_seal_free(self->seal);
    self->seal = NULL;
    if (self->packet.mem != NULL)
        mssh_buf_free(&self->packet);
    return 0;
}

static uint8_t *load_packet(lua_State *L, seal_object *self, mssh_slice bytes, size_t more)
{
    mssh_buf_clear(&self->packet);
    if (mssh_buf_append(&self->packet, bytes.data, bytes.len) != 0 ||
        mssh_buf_reserve(&self->packet, more) == NULL)
        luaL_error(L, "out of memory");
    return mssh_buf_bytes(&self->packet);
}

/* seal:seal(seq, packet) -> wire bytes: packet is the length field and what it counts */
static int seal_seal(lua_State *L)
{
    seal_object *self = luaL_checkudata(L, 1, SEAL);
    mssh_slice packet = mssh_testing_opt_slice(L, 3);
    size_t tag_len = self->seal->tag_len;
    uint8_t *bytes = load_packet(L, self, packet, tag_len);
    int r = self->seal->ops->seal(self->seal, (uint32_t)luaL_checkinteger(L, 2), bytes, packet.len - 4);

    if (r != 0)
        return mssh_testing_result(L, r);
    lua_pushlstring(L, (const char *)bytes, packet.len + tag_len);
    return 1;
}

/* seal:peek(seq, wire) -> packet_length */
static int seal_peek(lua_State *L)
{
    seal_object *self = luaL_checkudata(L, 1, SEAL);
    uint8_t *bytes = load_packet(L, self, mssh_testing_opt_slice(L, 3), 64);
    uint32_t length = 0;
    int r = self->seal->ops->peek(self->seal, (uint32_t)luaL_checkinteger(L, 2), bytes, &length);

    if (r != 0)
        return mssh_testing_result(L, r);
    lua_pushinteger(L, length);
    return 1;
}

/* seal:open(seq, wire, unverified) -> what the length field counts, in plain text | nil, code */
static int seal_open(lua_State *L)
{
    seal_object *self = luaL_checkudata(L, 1, SEAL);
    uint32_t seq = (uint32_t)luaL_checkinteger(L, 2);
    mssh_slice wire = mssh_testing_opt_slice(L, 3);
    uint8_t *bytes = load_packet(L, self, wire, 64);
    mssh_seal *seal = self->seal;
    uint32_t length = 0;
    int r = seal->ops->peek(seal, seq, bytes, &length);

    if (r == 0 && 4 + (size_t)length + seal->tag_len != wire.len)
        return luaL_error(L, "one packet, please");
    if (r == 0)
        r = seal->ops->open(seal, seq, bytes, length);
    if (r == MSSH_ERR_MAC && lua_toboolean(L, 4)) {
        if (seal->spoils)
            memcpy(bytes, wire.data, wire.len);
        r = seal->ops->open_unverified(seal, seq, bytes, length);
    }
    if (r != 0)
        return mssh_testing_result(L, r);
    lua_pushlstring(L, (const char *)bytes + 4, length);
    return 1;
}

static const luaL_Reg methods[] = {
    {"open", seal_open},
    {"peek", seal_peek},
    {"seal", seal_seal},
    {NULL, NULL},
};

/* transport.kdf(hash, K, H, letter, session_id, len) -> bytes; hash is "sha256", "sha384" or "sha512" */
static int kdf(lua_State *L)
{
    static const char *const names[] = {"sha256", "sha384", "sha512", NULL};
    static const mssh_hash_id hashes[] = {MSSH_HASH_SHA256, MSSH_HASH_SHA384, MSSH_HASH_SHA512};
    mssh_kdf_input input;
    uint8_t out[4 * MSSH_HASH_MAX];
    size_t len = (size_t)luaL_checkinteger(L, 6);
    int r;

    input.hash = hashes[luaL_checkoption(L, 1, NULL, names)];
    input.secret = mssh_testing_opt_slice(L, 2);
    input.exchange = mssh_testing_opt_slice(L, 3);
    input.session_id = mssh_testing_opt_slice(L, 5);
    r = mssh_kdf(&input, luaL_checkstring(L, 4)[0], out, len);
    if (r != 0)
        return mssh_testing_result(L, r);
    lua_pushlstring(L, (const char *)out, len);
    return 1;
}

/* transport.judge(role, phase, expected, skips_wrong_guess, number) -> verdict */
static int judge(lua_State *L)
{
    static const char *const roles[] = {"client", "server", NULL};
    static const char *const verdicts[] = {
        [MSSH_LET_IN] = "let in",
        [MSSH_DROP_GUESS] = "drop guess",
        [MSSH_ANSWER_UNIMPLEMENTED] = "unimplemented",
        [MSSH_REJECT] = "reject",
    };
    mssh_gate gate;

    gate.role = (mssh_role)luaL_checkoption(L, 1, NULL, roles);
    gate.phase = (uint8_t)luaL_checkinteger(L, 2);
    gate.expected = (uint8_t)luaL_checkinteger(L, 3);
    gate.skips_wrong_guess = lua_toboolean(L, 4);
    lua_pushstring(L, verdicts[mssh_gate_judge(&gate, (uint8_t)luaL_checkinteger(L, 5))]);
    return 1;
}

/* transport.algorithm_at(class, i) -> name, is_default; nil past the end. Classes and places count from 0. */
static int algorithm_at(lua_State *L)
{
    bool is_default = false;
    const char *name = mssh_algorithm_at((mssh_algorithm_class)luaL_checkinteger(L, 1),
                                         (size_t)luaL_checkinteger(L, 2), &is_default);

    lua_pushstring(L, name);
    lua_pushboolean(L, is_default);
    return 2;
}

static const luaL_Reg functions[] = {
    {"algorithm_at", algorithm_at}, {"seal", seal_new}, {"kdf", kdf}, {"judge", judge}, {NULL, NULL},
};

void mssh_testing_add_seals(lua_State *L)
{
    mssh_testing_new_class(L, SEAL, methods, seal_gc);
    luaL_setfuncs(L, functions, 0);
}
