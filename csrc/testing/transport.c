#include "testing/transport.h"

#include "testing/heap.h"
#include "testing/outbox.h"
#include "testing/testing.h"
#include "testing/util.h"
#include "transport/state.h"
#include "wire/writer.h"

#define TRANSPORT "moonssh_testing.transport"

enum { USER_VALUES = 2, MOST_HOST_KEYS = 8 };

int mssh_testing_result(lua_State *L, int code)
{
    if (code == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, mssh_err_name(code));
    return 2;
}

typedef struct transport_box {
    mssh_transport *transport;
} transport_box;

mssh_transport *mssh_testing_transport(lua_State *L)
{
    transport_box *box = luaL_checkudata(L, 1, TRANSPORT);
    if (box->transport == NULL)
        luaL_error(L, "the transport is closed");
    return box->transport;
}

/* Fields of the options table at index 1. Strings and keys stay alive as long as that table does. */
static mssh_slice option_slice(lua_State *L, const char *name)
{
    mssh_slice value;
    lua_getfield(L, 1, name);
    value = mssh_testing_opt_slice(L, -1);
    lua_pop(L, 1);
    return value;
}

static uint64_t option_integer(lua_State *L, const char *name)
{
    uint64_t value;
    lua_getfield(L, 1, name);
    value = (uint64_t)luaL_optinteger(L, -1, 0);
    lua_pop(L, 1);
    return value;
}

static bool option_boolean(lua_State *L, const char *name)
{
    bool value;
    lua_getfield(L, 1, name);
    value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* The list of keys, and on the stack the table that holds them. */
static size_t option_keys(lua_State *L, mssh_key **keys)
{
    size_t n = 0;

    lua_getfield(L, 1, "host_keys");
    while (lua_istable(L, -1) && n < MOST_HOST_KEYS) {
        if (lua_rawgeti(L, -1, (lua_Integer)n + 1) == LUA_TNIL) {
            lua_pop(L, 1);
            break;
        }
        keys[n++] = mssh_testing_key(L, -1);
        lua_pop(L, 1);
    }
    return n;
}

/* transport.new{role=, kex=, …} -> transport, or nil, code, message. The names are those of
 * mssh_transport_options, and kex, host_key, cipher, mac, compression; heap= is a heap to take memory from.
 */
static int transport_new(lua_State *L)
{
    static const char *const roles[] = {"client", "server", NULL};
    static const char *const classes[] = {"kex", "host_key", "cipher", "mac", "compression"};
    mssh_transport_options options = {.role = MSSH_CLIENT};
    mssh_key *keys[MOST_HOST_KEYS];
    mssh_failure failure = {.code = 0};
    transport_box *box;
    mssh_mem *mem;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "role");
    options.role = (mssh_role)luaL_checkoption(L, -1, "client", roles);
    lua_getfield(L, 1, "software");
    options.software = luaL_optstring(L, -1, "moonssh_test");
    for (int i = 0; i < MSSH_N_ALG_CLASSES; i++)
        options.algorithms[i] = option_slice(L, classes[i]);
    options.min_rsa_bits = (uint32_t)option_integer(L, "min_rsa_bits");
    options.allow_chacha = option_boolean(L, "allow_chacha");
    options.allow_cbc_etm = option_boolean(L, "allow_cbc_etm");
    options.require_strict = option_boolean(L, "require_strict");
    options.rekey_bytes = option_integer(L, "rekey_bytes");
    options.rekey_packets = option_integer(L, "rekey_packets");
    options.rekey_ms = option_integer(L, "rekey_ms");
    options.max_packet = option_integer(L, "max_packet");
    options.max_queue = option_integer(L, "max_queue");
    options.host_keys = keys;
    options.n_host_keys = option_keys(L, keys);
    lua_getfield(L, 1, "heap");
    box = lua_newuserdatauv(L, sizeof *box, USER_VALUES);
    box->transport = NULL;
    luaL_setmetatable(L, TRANSPORT);
    mem = mssh_testing_heap_use(L, lua_gettop(L) - 1);
    lua_pushvalue(L, lua_gettop(L) - 2);
    lua_setiuservalue(L, -2, 2);
    if (mssh_transport_new(mem, &options, &box->transport, &failure) == 0)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, mssh_err_name(failure.code));
    lua_pushstring(L, failure.message);
    return 3;
}

/* transport:close(), also when collected */
static int transport_close(lua_State *L)
{
    transport_box *box = luaL_checkudata(L, 1, TRANSPORT);
    mssh_transport_free(box->transport);
    box->transport = NULL;
    return 0;
}

static int transport_start(lua_State *L)
{
    return mssh_testing_result(L, mssh_transport_start(mssh_testing_transport(L)));
}

/* transport:feed(bytes) -> how many were taken, until there was no room */
static int transport_feed(lua_State *L)
{
    mssh_transport *t = mssh_testing_transport(L);
    mssh_slice bytes = mssh_testing_opt_slice(L, 2);
    size_t taken = 0;

    while (taken < bytes.len) {
        size_t room;
        uint8_t *place = mssh_transport_input(t, &room);
        size_t len = bytes.len - taken < room ? bytes.len - taken : room;

        if (len == 0)
            break;
        memcpy(place, bytes.data + taken, len);
        mssh_transport_input_done(t, len);
        taken += len;
    }
    lua_pushinteger(L, (lua_Integer)taken);
    return 1;
}

static int transport_feed_eof(lua_State *L)
{
    mssh_transport_input_eof(mssh_testing_transport(L));
    return 0;
}

/* transport:input_room() -> bytes that may be fed at once */
static int transport_input_room(lua_State *L)
{
    size_t room;
    (void)mssh_transport_input(mssh_testing_transport(L), &room);
    lua_pushinteger(L, (lua_Integer)room);
    return 1;
}

/* transport:next() -> kind, event */
static int transport_next(lua_State *L)
{
    static const char *const kinds[] = {
        [MSSH_TRANSPORT_NONE] = "none",
        [MSSH_TRANSPORT_PAYLOAD] = "payload",
        [MSSH_TRANSPORT_IGNORE] = "ignore",
        [MSSH_TRANSPORT_DEBUG] = "debug",
        [MSSH_TRANSPORT_DISCONNECT] = "disconnect",
        [MSSH_TRANSPORT_UNIMPLEMENTED] = "unimplemented",
        [MSSH_TRANSPORT_HOST_KEY] = "host_key",
        [MSSH_TRANSPORT_MAC_ERROR] = "mac_error",
        [MSSH_TRANSPORT_KEX_DONE] = "kex_done",
        [MSSH_TRANSPORT_FAILED] = "failed",
    };
    mssh_transport_event event;

    mssh_transport_next(mssh_testing_transport(L), &event);
    lua_pushstring(L, kinds[event.type]);
    lua_newtable(L);
    mssh_testing_set_slice(L, "data", event.data);
    mssh_testing_set_slice(L, "language", event.language);
    mssh_testing_set_integer(L, "reason", event.reason);
    mssh_testing_set_integer(L, "sequence", event.sequence);
    mssh_testing_set_boolean(L, "always_display", event.always_display);
    return 2;
}

/* transport:output(n) -> at most n bytes to send (default all), taken out of the queue */
static int transport_output(lua_State *L)
{
    mssh_transport *t = mssh_testing_transport(L);
    mssh_slice bytes = mssh_transport_output(t);
    size_t most = (size_t)luaL_optinteger(L, 2, LUA_MAXINTEGER);

    if (bytes.len > most)
        bytes.len = most;
    mssh_testing_push_slice(L, bytes);
    mssh_transport_output_done(t, bytes.len);
    return 1;
}

/* transport:queued() -> bytes to send, transport:room() -> bytes of bulk data that may be queued */
static int transport_queued(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)mssh_transport_output(mssh_testing_transport(L)).len);
    return 1;
}

static int transport_room(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)mssh_transport_room(mssh_testing_transport(L)));
    return 1;
}

/* transport:send(head, body) -> true | nil, code */
static int transport_send(lua_State *L)
{
    return mssh_testing_result(L, mssh_transport_send(mssh_testing_transport(L), mssh_testing_opt_slice(L, 2),
                                                      mssh_testing_opt_slice(L, 3)));
}

static int transport_send_concealed(lua_State *L)
{
    return mssh_testing_result(
        L, mssh_transport_send_concealed(mssh_testing_transport(L), mssh_testing_opt_slice(L, 2)));
}

/* transport:send_raw(payload): as a packet under the keys in use, past all that holds or minds */
static int transport_send_raw(lua_State *L)
{
    return mssh_testing_result(L,
                               mssh_packet_out_send(&mssh_testing_transport(L)->out,
                                                    mssh_testing_opt_slice(L, 2), MSSH_SLICE_EMPTY, false));
}

/* transport:send_forged(inner, length): a packet under the keys in use whose length field is `length`
 * (default that of `inner`) and whose content is `inner`: padding_length, payload, padding, as they are */
static int transport_send_forged(lua_State *L)
{
    mssh_transport *t = mssh_testing_transport(L);
    mssh_slice inner = mssh_testing_opt_slice(L, 2);
    uint32_t length = (uint32_t)luaL_optinteger(L, 3, (lua_Integer)inner.len);
    uint8_t *packet = mssh_buf_reserve(&t->out.bytes, 4 + inner.len + t->out.seal->tag_len);
    int r;

    if (packet == NULL)
        return mssh_testing_result(L, t->out.bytes.error);
    mssh_store_u32(packet, length);
    if (inner.len > 0)
        memcpy(packet + 4, inner.data, inner.len);
    r = t->out.seal->ops->seal(t->out.seal, t->out.seq++, packet, inner.len);
    mssh_buf_commit(&t->out.bytes, 4 + inner.len + t->out.seal->tag_len);
    return mssh_testing_result(L, r);
}

/* transport:kexinit(payload): begins a key exchange with this KEXINIT of ours, instead of start() or rekey()
 */
static int transport_kexinit(lua_State *L)
{
    static const int places[] = {MSSH_LIST_KEX, MSSH_LIST_HOST_KEY, MSSH_LIST_CIPHER, MSSH_LIST_MAC,
                                 MSSH_LIST_COMPRESSION};
    mssh_kexinit parsed;
    mssh_transport *t = mssh_testing_transport(L);
    mssh_slice payload = mssh_testing_slice(L, 2);

    if (!t->started) {
        t->started = true;
        (void)mssh_buf_append(&t->out.bytes, t->our_ident, t->our_ident_len);
        (void)mssh_buf_append(&t->out.bytes, "\r\n", 2);
    }
    mssh_buf_clear(&t->our_kexinit);
    (void)mssh_buf_append(&t->our_kexinit, payload.data, payload.len);
    if (mssh_kexinit_parse(payload, &parsed, NULL) == 0) {
        for (int cls = 0; cls < MSSH_N_ALG_CLASSES; cls++) {
            mssh_buf_clear(&t->lists[cls]);
            (void)mssh_buf_append(&t->lists[cls], parsed.lists[places[cls]].data,
                                  parsed.lists[places[cls]].len);
        }
    }
    t->exchange = MSSH_EXCHANGE_EXPECT_KEXINIT;
    return mssh_testing_result(L, mssh_transport_send_packet(t, payload, MSSH_SLICE_EMPTY, false));
}

/* transport:without_ext_info(): a server that has had the client's KEXINIT will not send EXT_INFO */
static int transport_without_ext_info(lua_State *L)
{
    mssh_testing_transport(L)->peer_wants_ext_info = false;
    return 0;
}

/* transport:queue(bytes): on the wire as they are */
static int transport_queue(lua_State *L)
{
    mssh_slice bytes = mssh_testing_opt_slice(L, 2);
    return mssh_testing_result(L,
                               mssh_buf_append(&mssh_testing_transport(L)->out.bytes, bytes.data, bytes.len));
}

static int transport_rekey(lua_State *L)
{
    return mssh_testing_result(L, mssh_transport_rekey(mssh_testing_transport(L)));
}

static int transport_tick(lua_State *L)
{
    mssh_transport_tick(mssh_testing_transport(L), (uint64_t)luaL_checkinteger(L, 2));
    return 0;
}

/* transport:deadline() -> milliseconds, nil for never */
static int transport_deadline(lua_State *L)
{
    uint64_t deadline = mssh_transport_deadline(mssh_testing_transport(L));
    if (deadline == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)deadline);
    return 1;
}

static int transport_answer_host_key(lua_State *L)
{
    return mssh_testing_result(
        L, mssh_transport_answer_host_key(mssh_testing_transport(L), lua_toboolean(L, 2)));
}

static int transport_answer_mac(lua_State *L)
{
    return mssh_testing_result(L, mssh_transport_answer_mac(mssh_testing_transport(L), lua_toboolean(L, 2)));
}

static int transport_ask_mac(lua_State *L)
{
    mssh_transport_ask_mac(mssh_testing_transport(L), lua_toboolean(L, 2));
    return 0;
}

static int transport_set_authenticated(lua_State *L)
{
    return mssh_testing_result(L, mssh_transport_set_authenticated(mssh_testing_transport(L)));
}

static int transport_disconnect(lua_State *L)
{
    uint32_t reason = (uint32_t)luaL_checkinteger(L, 2);
    return mssh_testing_result(
        L, mssh_transport_disconnect(mssh_testing_transport(L), reason, mssh_testing_opt_slice(L, 3)));
}

/* transport:fail(reason, message): as a failure of the layers above */
static int transport_fail(lua_State *L)
{
    mssh_failure failure = {.code = 0};
    (void)mssh_fail(&failure, MSSH_ERR_PROTOCOL, (uint32_t)luaL_checkinteger(L, 2), "%s",
                    luaL_checkstring(L, 3));
    mssh_transport_fail(mssh_testing_transport(L), &failure);
    return 0;
}

static const luaL_Reg methods[] = {
    {"answer_host_key", transport_answer_host_key},
    {"answer_mac", transport_answer_mac},
    {"ask_mac", transport_ask_mac},
    {"close", transport_close},
    {"deadline", transport_deadline},
    {"disconnect", transport_disconnect},
    {"fail", transport_fail},
    {"feed", transport_feed},
    {"feed_eof", transport_feed_eof},
    {"input_room", transport_input_room},
    {"next", transport_next},
    {"kexinit", transport_kexinit},
    {"output", transport_output},
    {"queue", transport_queue},
    {"queued", transport_queued},
    {"rekey", transport_rekey},
    {"room", transport_room},
    {"send", transport_send},
    {"send_concealed", transport_send_concealed},
    {"send_forged", transport_send_forged},
    {"send_raw", transport_send_raw},
    {"set_authenticated", transport_set_authenticated},
    {"start", transport_start},
    {"tick", transport_tick},
    {"without_ext_info", transport_without_ext_info},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", transport_new},
    {NULL, NULL},
};

int mssh_testing_open_transport(lua_State *L)
{
    mssh_testing_new_class(L, TRANSPORT, methods, transport_close);
    luaL_getmetatable(L, TRANSPORT);
    lua_getfield(L, -1, "__index");
    mssh_testing_add_transport_views(L);
    lua_pop(L, 2);
    luaL_newlib(L, functions);
    mssh_testing_add_seals(L);
    return 1;
}
