#include "mssh.h"

#include "testing/authentication.h"
#include "testing/channel.h"
#include "testing/heap.h"
#include "testing/outbox.h"
#include "testing/testing.h"
#include "testing/util.h"

#include <stdlib.h>

#define SESSION "moonssh_testing.session"

typedef struct session_box {
    mssh_session *session;
} session_box;

static uint64_t option_integer(lua_State *L, const char *name)
{
    lua_Integer value;

    lua_getfield(L, 1, name);
    value = luaL_optinteger(L, -1, 0);
    lua_pop(L, 1);
    return (uint64_t)value;
}

/* The string stays in the table, so the view outlives the stack. */
static mssh_slice option_slice(lua_State *L, const char *name)
{
    mssh_slice value;

    lua_getfield(L, 1, name);
    value = mssh_testing_opt_slice(L, -1);
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

/* session.new{heap=, kex=, host_key=, cipher=, mac=, compression=, …} -> session, or nil, code, message. The
 * names are those of mssh_transport_options and mssh_connection_options. */
static int session_new(lua_State *L)
{
    static const char *const classes[] = {"kex", "host_key", "cipher", "mac", "compression"};
    mssh_session_options options = {.transport = {.role = MSSH_CLIENT, .software = "moonssh_test"}};
    mssh_failure failure = {0};
    session_box *self;
    mssh_mem *mem;

    lua_settop(L, 1);
    luaL_checktype(L, 1, LUA_TTABLE);
    for (int i = 0; i < MSSH_N_ALG_CLASSES; i++)
        options.transport.algorithms[i] = option_slice(L, classes[i]);
    options.transport.allow_chacha = option_boolean(L, "allow_chacha");
    options.transport.allow_cbc_etm = option_boolean(L, "allow_cbc_etm");
    options.transport.require_strict = option_boolean(L, "require_strict");
    options.transport.rekey_bytes = option_integer(L, "rekey_bytes");
    options.transport.rekey_packets = option_integer(L, "rekey_packets");
    options.transport.rekey_ms = option_integer(L, "rekey_ms");
    options.transport.max_queue = option_integer(L, "max_queue");
    options.connection = mssh_testing_connection_options(L, 1);
    if (option_boolean(L, "server"))
        options.transport.role = MSSH_SERVER;
    lua_getfield(L, 1, "heap");
    self = lua_newuserdatauv(L, sizeof *self, 1);
    self->session = NULL;
    luaL_setmetatable(L, SESSION);
    mem = mssh_testing_heap_use(L, 2);
    if (mssh_session_new(mem, &options, &self->session, &failure) == 0)
        return 1;
    return mssh_testing_push_error(L, failure.code, &failure);
}

static mssh_session *check(lua_State *L)
{
    session_box *self = luaL_checkudata(L, 1, SESSION);
    luaL_argcheck(L, self->session != NULL, 1, "closed");
    return self->session;
}

static int session_close(lua_State *L)
{
    session_box *self = luaL_checkudata(L, 1, SESSION);
    mssh_session_free(self->session);
    self->session = NULL;
    return 0;
}

static int session_start(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_session_start(check(L)));
}

/* session:feed(bytes) -> how many were taken */
static int session_feed(lua_State *L)
{
    mssh_session *session = check(L);
    mssh_slice bytes = mssh_testing_opt_slice(L, 2);
    size_t taken = 0;

    while (taken < bytes.len) {
        size_t room = 0;
        uint8_t *place = mssh_session_input(session, &room);
        size_t len = bytes.len - taken < room ? bytes.len - taken : room;
        if (len == 0)
            break;
        memcpy(place, bytes.data + taken, len);
        mssh_session_input_done(session, len);
        taken += len;
    }
    lua_pushinteger(L, (lua_Integer)taken);
    return 1;
}

static int session_feed_eof(lua_State *L)
{
    mssh_session_input_eof(check(L));
    return 0;
}

/* session:input_room() -> bytes that may be fed at once */
static int session_input_room(lua_State *L)
{
    size_t room = 0;
    (void)mssh_session_input(check(L), &room);
    lua_pushinteger(L, (lua_Integer)room);
    return 1;
}

static void set_transport_event(lua_State *L, const mssh_transport_event *event)
{
    mssh_testing_set_slice(L, "data", event->data);
    mssh_testing_set_slice(L, "language", event->language);
    mssh_testing_set_integer(L, "reason", event->reason);
    mssh_testing_set_integer(L, "sequence", event->sequence);
    mssh_testing_set_boolean(L, "always_display", event->always_display);
}

/* session:next() -> event table, or nil when there is none */
static int session_next(lua_State *L)
{
    static const char *const names[] = {
#define EVENT_NAME(id, name) name,
        MSSH_EVENTS(EVENT_NAME)
#undef EVENT_NAME
    };
    mssh_event event;

    mssh_session_next(check(L), &event);
    if (event.type == MSSH_EVENT_NONE)
        return 0;
    lua_newtable(L);
    lua_pushstring(L, names[event.type]);
    lua_setfield(L, -2, "type");
    if (event.type >= MSSH_EVENT_OPENED && event.type <= MSSH_EVENT_GLOBAL_REQUEST)
        mssh_testing_set_connection_event(L, &event.connection);
    else if (event.type >= MSSH_EVENT_BANNER && event.type <= MSSH_EVENT_AUTH_PROMPTS)
        mssh_testing_set_auth_event(L, event.auth);
    else if (event.type != MSSH_EVENT_FAILED)
        set_transport_event(L, &event.transport);
    return 1;
}

/* session:output(n) -> at most n bytes to send (default all), taken out of the queue */
static int session_output(lua_State *L)
{
    mssh_session *session = check(L);
    mssh_slice output = mssh_session_output(session);
    size_t len = (size_t)luaL_optinteger(L, 2, LUA_MAXINTEGER);

    if (len > output.len)
        len = output.len;
    lua_pushlstring(L, (const char *)output.data, len);
    mssh_session_output_done(session, len);
    return 1;
}

/* session:queued() -> bytes to send */
static int session_queued(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)mssh_session_output(check(L)).len);
    return 1;
}

static int session_tick(lua_State *L)
{
    mssh_session_tick(check(L), (uint64_t)luaL_checkinteger(L, 2));
    return 0;
}

/* session:trim(): gives back what holds nothing */
static int session_trim(lua_State *L)
{
    mssh_transport_trim(mssh_session_transport(check(L)));
    return 0;
}

/* session:deadline() -> milliseconds, nil for never */
static int session_deadline(lua_State *L)
{
    uint64_t deadline = mssh_session_deadline(check(L));

    if (deadline == UINT64_MAX)
        return 0;
    lua_pushinteger(L, (lua_Integer)deadline);
    return 1;
}

/* session:fail(code, reason, message): an end from outside */
static int session_fail(lua_State *L)
{
    mssh_failure failure = {0};

    (void)mssh_fail(&failure, (int)luaL_checkinteger(L, 2), (uint32_t)luaL_optinteger(L, 3, 0), "%s",
                    luaL_optstring(L, 4, ""));
    mssh_session_fail(check(L), &failure);
    return 0;
}

/* session:failure() -> code, message, reason, or nil */
static int session_failure(lua_State *L)
{
    return mssh_testing_push_failure(L, mssh_session_failure(check(L)));
}

static int session_authenticated(lua_State *L)
{
    lua_pushboolean(L, mssh_session_authenticated(check(L)));
    return 1;
}

static int session_answer_host_key(lua_State *L)
{
    mssh_transport *transport = mssh_session_transport(check(L));
    return mssh_testing_push_result(L, mssh_transport_answer_host_key(transport, lua_toboolean(L, 2)));
}

static int session_rekey(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_transport_rekey(mssh_session_transport(check(L))));
}

/* session:disconnect(reason, text) */
static int session_disconnect(lua_State *L)
{
    mssh_transport *transport = mssh_session_transport(check(L));
    return mssh_testing_push_result(L, mssh_transport_disconnect(transport, (uint32_t)luaL_checkinteger(L, 2),
                                                                 mssh_testing_opt_slice(L, 3)));
}

static int session_ignore(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_session_ignore(check(L), mssh_testing_opt_slice(L, 2)));
}

/* session:debug(always_display, message, language) */
static int session_debug(lua_State *L)
{
    mssh_session *session = check(L);
    return mssh_testing_push_result(L, mssh_session_debug(session, lua_toboolean(L, 2),
                                                          mssh_testing_opt_slice(L, 3),
                                                          mssh_testing_opt_slice(L, 4)));
}

/* session:info() -> {session_id=, rekeys=, packets_sent=, packets_received=} */
static int session_info(lua_State *L)
{
    mssh_transport_info info;

    mssh_transport_info_get(mssh_session_transport(check(L)), &info);
    lua_newtable(L);
    mssh_testing_set_slice(L, "session_id", info.session_id);
    mssh_testing_set_integer(L, "rekeys", info.rekeys);
    mssh_testing_set_integer(L, "packets_sent", (lua_Integer)info.packets_sent);
    mssh_testing_set_integer(L, "packets_received", (lua_Integer)info.packets_received);
    return 1;
}

static mssh_auth *bare_auth(lua_State *L)
{
    return mssh_session_auth(check(L));
}

static mssh_connection *bare_connection(lua_State *L)
{
    return mssh_session_connection(check(L));
}

static const luaL_Reg methods[] = {
    {"start", session_start},
    {"feed", session_feed},
    {"feed_eof", session_feed_eof},
    {"input_room", session_input_room},
    {"next", session_next},
    {"output", session_output},
    {"queued", session_queued},
    {"tick", session_tick},
    {"deadline", session_deadline},
    {"trim", session_trim},
    {"fail", session_fail},
    {"failure", session_failure},
    {"authenticated", session_authenticated},
    {"answer_host_key", session_answer_host_key},
    {"rekey", session_rekey},
    {"disconnect", session_disconnect},
    {"ignore", session_ignore},
    {"debug", session_debug},
    {"info", session_info},
    {"close", session_close},
    {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", session_new},
    {NULL, NULL},
};

int mssh_testing_open_session(lua_State *L)
{
    luaL_newmetatable(L, SESSION);
    luaL_newlib(L, methods);
    mssh_testing_add_auth_methods(L, bare_auth);
    mssh_testing_add_channel_methods(L, bare_connection);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, session_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
