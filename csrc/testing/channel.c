#include "testing/channel.h"

#include "testing/outbox.h"
#include "testing/util.h"

#include <lauxlib.h>

static mssh_connection *connection_of(lua_State *L)
{
    mssh_testing_connection_of **of = lua_touserdata(L, lua_upvalueindex(1));
    return (*of)(L);
}

static mssh_channel check_channel(lua_State *L)
{
    return (mssh_channel)luaL_checkinteger(L, 2);
}

/* 0 (or nothing) for stdout, 1 for stderr */
static mssh_stream check_stream(lua_State *L, int index)
{
    return luaL_optinteger(L, index, 0) == 1 ? MSSH_STDERR : MSSH_STDOUT;
}

/* c:global_request(name, want_reply, data) -> true, or nil, err */
static int global_request(lua_State *L)
{
    mssh_slice name = mssh_testing_opt_slice(L, 2);
    return mssh_testing_push_result(L, mssh_connection_request(connection_of(L), name, lua_toboolean(L, 3),
                                                               mssh_testing_opt_slice(L, 4)));
}

/* c:open(type, data) -> channel, or nil, err */
static int open_channel(lua_State *L)
{
    mssh_channel channel = 0;
    int err = mssh_connection_open(connection_of(L), mssh_testing_opt_slice(L, 2),
                                   mssh_testing_opt_slice(L, 3), &channel);
    if (err != 0)
        return mssh_testing_push_result(L, err);
    lua_pushinteger(L, (lua_Integer)channel);
    return 1;
}

/* c:request(channel, name, want_reply, data) -> true, or nil, err */
static int request(lua_State *L)
{
    mssh_slice name = mssh_testing_opt_slice(L, 3);
    return mssh_testing_push_result(L,
                                    mssh_channel_request(connection_of(L), check_channel(L), name,
                                                         lua_toboolean(L, 4), mssh_testing_opt_slice(L, 5)));
}

/* c:write(channel, bytes, stream) -> number of bytes taken, or nil, err */
static int write_channel(lua_State *L)
{
    size_t taken = 0;
    int err = mssh_channel_write(connection_of(L), check_channel(L), check_stream(L, 4),
                                 mssh_testing_opt_slice(L, 3), &taken);
    if (err != 0)
        return mssh_testing_push_result(L, err);
    lua_pushinteger(L, (lua_Integer)taken);
    return 1;
}

/* c:write_endless(channel, len) -> as write, of `len` bytes of which only the first MiB may be looked at */
static int write_endless(lua_State *L)
{
    static const uint8_t bytes[1 << 20];
    size_t taken = 0;
    int err = mssh_channel_write(connection_of(L), check_channel(L), MSSH_STDOUT,
                                 mssh_slice_of(bytes, (size_t)luaL_checkinteger(L, 3)), &taken);
    if (err != 0)
        return mssh_testing_push_result(L, err);
    lua_pushinteger(L, (lua_Integer)taken);
    return 1;
}

/* c:eof(channel) -> true, or nil, err */
static int send_eof(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_channel_eof(connection_of(L), check_channel(L)));
}

/* c:close_channel(channel) -> true, or nil, err */
static int close_channel(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_channel_close(connection_of(L), check_channel(L)));
}

/* c:release(channel) */
static int release(lua_State *L)
{
    mssh_channel_release(connection_of(L), check_channel(L));
    return 0;
}

/* c:keep(channel, stream, data) -> true, or nil, err */
static int keep(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_channel_keep(connection_of(L), check_channel(L),
                                                         check_stream(L, 3), mssh_testing_opt_slice(L, 4)));
}

/* c:kept(channel, stream) -> bytes */
static int kept(lua_State *L)
{
    mssh_slice bytes = mssh_channel_kept(connection_of(L), check_channel(L), check_stream(L, 3));
    lua_pushlstring(L, (const char *)bytes.data, bytes.len);
    return 1;
}

/* c:take(channel, stream, len) */
static int take(lua_State *L)
{
    mssh_channel_take(connection_of(L), check_channel(L), check_stream(L, 3),
                      (size_t)luaL_checkinteger(L, 4));
    return 0;
}

/* c:consumed(channel, len) */
static int consumed(lua_State *L)
{
    mssh_channel_consumed(connection_of(L), check_channel(L), (size_t)luaL_checkinteger(L, 3));
    return 0;
}

/* c:state(channel) -> table, or nil for a stale handle */
static int state(lua_State *L)
{
    mssh_channel_state found;

    if (!mssh_channel_state_get(connection_of(L), check_channel(L), &found))
        return 0;
    lua_newtable(L);
    mssh_testing_set_boolean(L, "open", found.open);
    mssh_testing_set_boolean(L, "eof_received", found.eof_received);
    mssh_testing_set_boolean(L, "eof_sent", found.eof_sent);
    mssh_testing_set_boolean(L, "close_sent", found.close_sent);
    mssh_testing_set_integer(L, "send_window", found.send_window);
    mssh_testing_set_integer(L, "receive_window", found.receive_window);
    mssh_testing_set_integer(L, "window", found.window);
    return 1;
}

/* c:want(kind, wanted): kinds by their number, from 0 */
static int want(lua_State *L)
{
    mssh_connection_want(connection_of(L), (mssh_kind)luaL_checkinteger(L, 2), lua_toboolean(L, 3));
    return 0;
}

/* c:accept(channel) -> true, or nil, err */
static int accept_channel(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_channel_accept(connection_of(L), check_channel(L)));
}

/* c:refuse(channel, reason, text) -> true, or nil, err */
static int refuse_channel(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_channel_refuse(connection_of(L), check_channel(L),
                                                           (uint32_t)luaL_checkinteger(L, 3),
                                                           mssh_testing_opt_slice(L, 4)));
}

/* c:room(channel) -> bytes */
static int room(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)mssh_channel_room(connection_of(L), check_channel(L)));
    return 1;
}

static const luaL_Reg methods[] = {
    {"want", want},
    {"accept", accept_channel},
    {"refuse", refuse_channel},
    {"room", room},
    {"global_request", global_request},
    {"open", open_channel},
    {"request", request},
    {"write", write_channel},
    {"write_endless", write_endless},
    {"eof", send_eof},
    {"close_channel", close_channel},
    {"release", release},
    {"keep", keep},
    {"kept", kept},
    {"take", take},
    {"consumed", consumed},
    {"state", state},
    {NULL, NULL},
};

void mssh_testing_add_channel_methods(lua_State *L, mssh_testing_connection_of *of)
{
    mssh_testing_connection_of **kept_of = lua_newuserdatauv(L, sizeof *kept_of, 0);
    *kept_of = of;
    luaL_setfuncs(L, methods, 1);
}
