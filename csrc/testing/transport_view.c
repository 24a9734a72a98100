#include "testing/outbox.h"
#include "testing/transport.h"
#include "testing/util.h"
#include "transport/state.h"

#include <lauxlib.h>

void mssh_testing_push_slice(lua_State *L, mssh_slice bytes)
{
    lua_pushlstring(L, bytes.len > 0 ? (const char *)bytes.data : "", bytes.len);
}

void mssh_testing_set_text(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

/* transport:failure() -> nil or {code=, reason=, message=} */
static int transport_failure(lua_State *L)
{
    const mssh_failure *failure = mssh_transport_failure(mssh_testing_transport(L));

    if (failure->code == 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_newtable(L);
    mssh_testing_set_text(L, "code", mssh_err_name(failure->code));
    mssh_testing_set_integer(L, "reason", failure->reason);
    mssh_testing_set_text(L, "message", failure->message);
    return 1;
}

/* transport:negotiation() -> nil or {what=, ours=, theirs=} */
static int transport_negotiation(lua_State *L)
{
    mssh_negotiation_failure why = mssh_transport_negotiation(mssh_testing_transport(L));

    if (why.what == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_newtable(L);
    mssh_testing_set_text(L, "what", why.what);
    mssh_testing_set_slice(L, "ours", why.ours);
    mssh_testing_set_slice(L, "theirs", why.theirs);
    return 1;
}

static int transport_info(lua_State *L)
{
    mssh_transport_info info;

    mssh_transport_info_get(mssh_testing_transport(L), &info);
    lua_newtable(L);
    mssh_testing_set_slice(L, "client_ident", info.client_ident);
    mssh_testing_set_slice(L, "server_ident", info.server_ident);
    mssh_testing_set_text(L, "kex", info.kex);
    mssh_testing_set_text(L, "host_key", info.host_key);
    mssh_testing_set_text(L, "cipher_send", info.cipher_send);
    mssh_testing_set_text(L, "cipher_recv", info.cipher_recv);
    mssh_testing_set_text(L, "mac_send", info.mac_send);
    mssh_testing_set_text(L, "mac_recv", info.mac_recv);
    mssh_testing_set_text(L, "compression_send", info.compression_send);
    mssh_testing_set_text(L, "compression_recv", info.compression_recv);
    mssh_testing_set_slice(L, "session_id", info.session_id);
    mssh_testing_set_boolean(L, "strict", info.strict);
    mssh_testing_set_integer(L, "bytes_sent", (lua_Integer)info.bytes_sent);
    mssh_testing_set_integer(L, "bytes_received", (lua_Integer)info.bytes_received);
    mssh_testing_set_integer(L, "packets_sent", (lua_Integer)info.packets_sent);
    mssh_testing_set_integer(L, "packets_received", (lua_Integer)info.packets_received);
    mssh_testing_set_integer(L, "rekeys", (lua_Integer)info.rekeys);
    return 1;
}

static int transport_host_key(lua_State *L)
{
    mssh_testing_push_slice(L, mssh_transport_host_key(mssh_testing_transport(L)));
    return 1;
}

/* transport:server_sig_algs() -> list, or nil when none came */
static int transport_server_sig_algs(lua_State *L)
{
    bool known;
    mssh_slice list = mssh_transport_server_sig_algs(mssh_testing_transport(L), &known);

    if (known)
        mssh_testing_push_slice(L, list);
    else
        lua_pushnil(L);
    return 1;
}

static int transport_stage(lua_State *L)
{
    lua_pushstring(L, mssh_transport_stage(mssh_testing_transport(L)));
    return 1;
}

static int transport_trace(lua_State *L)
{
    mssh_transport_trace(mssh_testing_transport(L), lua_toboolean(L, 2));
    return 0;
}

/* transport:trace_next() -> "sent" or "received", number, length; nil when there is none */
static int transport_trace_next(lua_State *L)
{
    mssh_trace_record record;

    if (!mssh_transport_trace_next(mssh_testing_transport(L), &record)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushstring(L, record.sent ? "sent" : "received");
    lua_pushinteger(L, record.number);
    lua_pushinteger(L, record.len);
    return 3;
}

/* --- the inside */

/* transport:sequence(send, recv) -> both numbers, which are set first where they are given */
static int transport_sequence(lua_State *L)
{
    mssh_transport *t = mssh_testing_transport(L);

    t->out.seq = (uint32_t)luaL_optinteger(L, 2, t->out.seq);
    t->in.seq = (uint32_t)luaL_optinteger(L, 3, t->in.seq);
    lua_pushinteger(L, t->out.seq);
    lua_pushinteger(L, t->in.seq);
    return 2;
}

/* transport:packets(send, recv) -> packets under the keys in use, set first where they are given */
static int transport_packets(lua_State *L)
{
    mssh_transport *t = mssh_testing_transport(L);

    t->out.packets = (uint64_t)luaL_optinteger(L, 2, (lua_Integer)t->out.packets);
    t->in.packets = (uint64_t)luaL_optinteger(L, 3, (lua_Integer)t->in.packets);
    lua_pushinteger(L, (lua_Integer)t->out.packets);
    lua_pushinteger(L, (lua_Integer)t->in.packets);
    return 2;
}

/* transport:gate() -> phase, expected, skips_wrong_guess: what the gate is told */
static int transport_gate(lua_State *L)
{
    mssh_gate gate = mssh_transport_gate(mssh_testing_transport(L));

    lua_pushinteger(L, gate.phase);
    lua_pushinteger(L, gate.expected);
    lua_pushboolean(L, gate.skips_wrong_guess);
    return 3;
}

/* transport:storage() -> bytes allocated for input and for output */
static int transport_storage(lua_State *L)
{
    mssh_transport *t = mssh_testing_transport(L);

    lua_pushinteger(L, (lua_Integer)t->in.bytes.cap);
    lua_pushinteger(L, (lua_Integer)t->out.bytes.cap);
    return 2;
}

static const luaL_Reg views[] = {
    {"failure", transport_failure},
    {"gate", transport_gate},
    {"host_key", transport_host_key},
    {"info", transport_info},
    {"negotiation", transport_negotiation},
    {"packets", transport_packets},
    {"sequence", transport_sequence},
    {"server_sig_algs", transport_server_sig_algs},
    {"stage", transport_stage},
    {"storage", transport_storage},
    {"trace", transport_trace},
    {"trace_next", transport_trace_next},
    {NULL, NULL},
};

void mssh_testing_add_transport_views(lua_State *L)
{
    luaL_setfuncs(L, views, 0);
}
