/* What a session tells about itself, and the transport's commands. */
#include "binding/session.h"

static mssh_transport *transport_of(const mssh_lua_session *self)
{
    return mssh_session_transport(self->session);
}

/* Sets a field of the table at the top to a text; an empty one leaves it out. */
static void set_slice(lua_State *L, const mssh_lua_session *self, const char *field, mssh_slice text)
{
    if (text.len == 0)
        return;
    mssh_lua_session_push(L, self, text);
    lua_setfield(L, -2, field);
}

/* The same for a name out of a table of the core. */
static void set_text(lua_State *L, const char *field, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void set_pair(lua_State *L, const char *field, const char *sent, const char *received)
{
    lua_createtable(L, 0, 2);
    set_text(L, "send", sent);
    set_text(L, "recv", received);
    lua_setfield(L, -2, field);
}

static void set_count(lua_State *L, const char *field, uint64_t count)
{
    lua_pushinteger(L, (lua_Integer)count);
    lua_setfield(L, -2, field);
}

static int session_info(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_transport_info info = {0};

    mssh_transport_info_get(transport_of(self), &info);
    lua_createtable(L, 0, 14);
    set_slice(L, self, "client", info.client_ident);
    set_slice(L, self, "server", info.server_ident);
    set_slice(L, self, "session_id", info.session_id);
    set_text(L, "kex", info.kex);
    set_text(L, "host_key", info.host_key);
    set_pair(L, "cipher", info.cipher_send, info.cipher_recv);
    set_pair(L, "mac", info.mac_send, info.mac_recv);
    set_pair(L, "compression", info.compression_send, info.compression_recv);
    lua_pushboolean(L, info.strict);
    lua_setfield(L, -2, "strict");
    set_count(L, "bytes_sent", info.bytes_sent);
    set_count(L, "bytes_received", info.bytes_received);
    set_count(L, "packets_sent", info.packets_sent);
    set_count(L, "packets_received", info.packets_received);
    set_count(L, "rekeys", info.rekeys);
    return 1;
}

static int session_stage(lua_State *L)
{
    lua_pushstring(L, mssh_transport_stage(transport_of(mssh_lua_session_check(L))));
    return 1;
}

static int session_trim(lua_State *L)
{
    mssh_transport_trim(transport_of(mssh_lua_session_check(L)));
    return 0;
}

static int session_negotiation(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_negotiation_failure failure = mssh_transport_negotiation(transport_of(self));

    lua_pushstring(L, failure.what); /* nil for NULL */
    if (failure.what == NULL)
        return 1;
    mssh_lua_session_push(L, self, failure.ours);
    mssh_lua_session_push(L, self, failure.theirs);
    return 3;
}

static int session_host_key(lua_State *L)
{
    mssh_slice blob = mssh_transport_host_key(transport_of(mssh_lua_session_check(L)));

    if (blob.len == 0)
        lua_pushnil(L);
    else
        mssh_lua_push_slice(L, blob);
    return 1;
}

static int session_host_signature(lua_State *L)
{
    mssh_lua_push_slice(L, mssh_transport_host_signature(transport_of(mssh_lua_session_check(L))));
    return 1;
}

static int session_server_sig_algs(lua_State *L)
{
    bool known = false;
    mssh_slice names = mssh_transport_server_sig_algs(transport_of(mssh_lua_session_check(L)), &known);

    if (!known)
        lua_pushnil(L);
    else
        mssh_lua_push_slice(L, names);
    return 1;
}

static int session_answer_host_key(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    bool accept = lua_toboolean(L, 2);

    return mssh_lua_session_result(L, self, mssh_transport_answer_host_key(transport_of(self), accept));
}

static int session_answer_mac(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    bool accept = lua_toboolean(L, 2);

    return mssh_lua_session_result(L, self, mssh_transport_answer_mac(transport_of(self), accept));
}

static int session_ask_mac(lua_State *L)
{
    mssh_transport_ask_mac(transport_of(mssh_lua_session_check(L)), lua_toboolean(L, 2));
    lua_pushboolean(L, 1);
    return 1;
}

static int session_rekey(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);

    return mssh_lua_session_result(L, self, mssh_transport_rekey(transport_of(self)));
}

static int session_ignore(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_slice data = mssh_lua_opt_slice(L, 2);

    return mssh_lua_session_result(L, self, mssh_session_ignore(self->session, data));
}

static int session_debug(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    bool always_display = lua_toboolean(L, 2);
    mssh_slice message = mssh_lua_check_slice(L, 3);
    mssh_slice language = mssh_lua_opt_slice(L, 4);
    int status = mssh_session_debug(self->session, always_display, message, language);

    return mssh_lua_session_result(L, self, status);
}

static int session_listen(lua_State *L)
{
    static const char *const kinds[] = {"ignore", "debug", "global_request", NULL};
    mssh_lua_session *self = mssh_lua_session_check(L);
    bool *const unwanted[] = {&self->no_ignore, &self->no_debug, &self->no_requests};

    *unwanted[luaL_checkoption(L, 2, NULL, kinds)] = !lua_toboolean(L, 3);
    lua_pushboolean(L, 1);
    return 1;
}

static int session_trace(lua_State *L)
{
    mssh_transport_trace(transport_of(mssh_lua_session_check(L)), lua_toboolean(L, 2));
    lua_pushboolean(L, 1);
    return 1;
}

static int session_trace_next(lua_State *L)
{
    mssh_trace_record record;

    if (!mssh_transport_trace_next(transport_of(mssh_lua_session_check(L)), &record)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushboolean(L, record.sent);
    lua_pushinteger(L, record.number);
    lua_pushstring(L, mssh_message_name(record.number));
    lua_pushinteger(L, record.len);
    return 4;
}

const luaL_Reg mssh_lua_session_info_methods[] = {
    {"info", session_info},
    {"stage", session_stage},
    {"trim", session_trim},
    {"negotiation", session_negotiation},
    {"host_key", session_host_key},
    {"server_sig_algs", session_server_sig_algs},
    {"host_signature", session_host_signature},
    {"answer_host_key", session_answer_host_key},
    {"answer_mac", session_answer_mac},
    {"ask_mac", session_ask_mac},
    {"rekey", session_rekey},
    {"ignore", session_ignore},
    {"debug", session_debug},
    {"listen", session_listen},
    {"trace", session_trace},
    {"trace_next", session_trace_next},
    {NULL, NULL},
};
