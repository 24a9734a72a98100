/* The connection protocol's methods of a session: global requests, channels and their data. */
#include "binding/sftp.h"

#include <string.h>

static mssh_connection *connection_of(const mssh_lua_session *self)
{
    return mssh_session_connection(self->session);
}

/* The channel handle at stack index 2. Any integer will do: a stale or invented one is an error of the
 * connection's, never a crash. */
static mssh_channel check_channel(lua_State *L)
{
    return (mssh_channel)luaL_checkinteger(L, 2);
}

static mssh_stream check_stream(lua_State *L)
{
    return (mssh_stream)mssh_lua_check_range(L, 3, MSSH_STDOUT, MSSH_N_STREAMS - 1);
}

static int session_global_request(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_slice name = mssh_lua_check_slice(L, 2);
    bool want_reply = lua_toboolean(L, 3);
    mssh_slice data = mssh_lua_opt_slice(L, 4);

    return mssh_lua_session_result(L, self,
                                   mssh_connection_request(connection_of(self), name, want_reply, data));
}

static int session_open(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_slice type = mssh_lua_check_slice(L, 2);
    mssh_slice data = mssh_lua_opt_slice(L, 3);
    mssh_channel channel = 0;
    int status = mssh_connection_open(connection_of(self), type, data, &channel);

    if (status != 0)
        return mssh_lua_session_result(L, self, status);
    self->for_commands = self->for_commands || mssh_slice_is(type, "session");
    lua_pushinteger(L, (lua_Integer)channel);
    return 1;
}

/* The kind that a name of a channel type stands for. */
static mssh_kind check_kind(lua_State *L, int arg)
{
    static const char *const types[] = {
#define TYPE_NAME(id, type, form) type,
        MSSH_CONNECTION_KINDS(TYPE_NAME)
#undef TYPE_NAME
            NULL};

    (void)mssh_lua_check_slice(L, arg);
    return (mssh_kind)luaL_checkoption(L, arg, NULL, types);
}

static int session_want(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);

    mssh_connection_want(connection_of(self), check_kind(L, 2), lua_toboolean(L, 3));
    lua_pushboolean(L, 1);
    return 1;
}

static int session_channel_accept(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);

    return mssh_lua_session_result(L, self, mssh_channel_accept(connection_of(self), check_channel(L)));
}

static int session_channel_refuse(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);
    uint32_t reason = (uint32_t)mssh_lua_check_range(L, 3, 0, UINT32_MAX);
    mssh_slice text = mssh_lua_opt_slice(L, 4);

    return mssh_lua_session_result(L, self, mssh_channel_refuse(connection_of(self), channel, reason, text));
}

static int session_channel_request(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);
    mssh_slice name = mssh_lua_check_slice(L, 3);
    bool want_reply = lua_toboolean(L, 4);
    mssh_slice data = mssh_lua_opt_slice(L, 5);
    int status = mssh_channel_request(connection_of(self), channel, name, want_reply, data);

    return mssh_lua_session_result(L, self, status);
}

static int session_channel_write(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);
    mssh_stream stream = check_stream(L);
    mssh_slice data = mssh_lua_check_slice(L, 4);
    size_t offset = (size_t)mssh_lua_opt_range(L, 5, 1, 1, (lua_Integer)data.len + 1) - 1;
    mssh_slice rest = mssh_slice_of(data.data + offset, data.len - offset);
    size_t taken = 0;
    int status = mssh_channel_write(connection_of(self), channel, stream, rest, &taken);

    if (status != 0)
        return mssh_lua_session_result(L, self, status);
    lua_pushinteger(L, (lua_Integer)taken);
    return 1;
}

static int session_channel_eof(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);

    return mssh_lua_session_result(L, self, mssh_channel_eof(connection_of(self), check_channel(L)));
}

static int session_channel_close(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);

    return mssh_lua_session_result(L, self, mssh_channel_close(connection_of(self), check_channel(L)));
}

static int session_channel_release(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);

    mssh_channel_release(connection_of(self), channel);
    mssh_lua_channel_forget(self, channel);
    lua_pushboolean(L, 1);
    return 1;
}

static int session_channels(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);

    lua_pushinteger(L, mssh_connection_n_channels(connection_of(self)));
    return 1;
}

static int session_channel_kept(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);
    mssh_slice kept = mssh_channel_kept(connection_of(self), channel, check_stream(L));

    lua_pushinteger(L, (lua_Integer)kept.len);
    return 1;
}

/* The string is made before the bytes are taken away. */
static int session_channel_take(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);
    mssh_stream stream = check_stream(L);
    lua_Integer max = mssh_lua_opt_range(L, 4, LUA_MAXINTEGER, 1, LUA_MAXINTEGER);
    mssh_slice kept = mssh_channel_kept(connection_of(self), channel, stream);

    if ((uint64_t)max < kept.len)
        kept.len = (size_t)max;
    if (kept.len == 0) {
        lua_pushnil(L);
        return 1;
    }
    mssh_lua_push_slice(L, kept);
    if (self->object.closed) /* by a finalizer */
        return 1;
    mssh_channel_take(connection_of(self), channel, stream, kept.len);
    return 1;
}

static int session_channel_find(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);
    mssh_stream stream = check_stream(L);
    int byte = (int)mssh_lua_check_range(L, 4, 0, 255);
    size_t from = (size_t)mssh_lua_opt_range(L, 5, 1, 1, LUA_MAXINTEGER) - 1;
    mssh_slice kept = mssh_channel_kept(connection_of(self), channel, stream);
    const uint8_t *at = from < kept.len ? memchr(kept.data + from, byte, kept.len - from) : NULL;

    if (at == NULL)
        lua_pushnil(L);
    else
        lua_pushinteger(L, at - kept.data + 1);
    return 1;
}

/* Rows of channels: few, and asked for in bursts of the same one, so a search from the start will do. */
mssh_lua_channel *mssh_lua_channel_find(mssh_lua_session *self, mssh_channel channel)
{
    for (size_t i = 0; i < self->n_channels; i++) {
        if (self->channels[i].channel == channel)
            return &self->channels[i];
    }
    return NULL;
}

void mssh_lua_channel_forget(mssh_lua_session *self, mssh_channel channel)
{
    mssh_lua_channel *row = mssh_lua_channel_find(self, channel);

    if (row == NULL)
        return;
    self->n_machines -= row->sftp != NULL;
    mssh_lua_sftp_free(self, row->sftp);
    *row = self->channels[--self->n_channels];
}

mssh_lua_channel *mssh_lua_channel_row(mssh_lua_session *self, mssh_channel channel)
{
    mssh_lua_channel *row = mssh_lua_channel_find(self, channel);
    mssh_channel_state state;

    if (row != NULL || !mssh_channel_state_get(connection_of(self), channel, &state))
        return row;
    if (self->n_channels == self->channels_cap) {
        size_t cap = self->channels_cap > 0 ? self->channels_cap * 2 : 4;
        row = mssh_resize(&self->mem, self->channels, self->channels_cap * sizeof *row, cap * sizeof *row,
                          self->n_channels * sizeof *row);
        if (row == NULL)
            return NULL;
        self->channels = row;
        self->channels_cap = cap;
    }
    row = &self->channels[self->n_channels++];
    *row = (mssh_lua_channel){.channel = channel};
    return row;
}

/* As luaL_checkoption, but a number is no string: making it one would allocate. */
static int check_option(lua_State *L, int arg, const char *const *names)
{
    (void)mssh_lua_check_slice(L, arg);
    return luaL_checkoption(L, arg, NULL, names);
}

static int session_channel_mode(lua_State *L)
{
    static const char *const modes[] = {"keep", "discard", "merge", "direct", NULL};
    mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);
    mssh_stream stream = check_stream(L);
    mssh_lua_mode mode = (mssh_lua_mode)check_option(L, 4, modes);
    lua_Integer budget = mssh_lua_opt_range(L, 5, LUA_MAXINTEGER, 0, LUA_MAXINTEGER);
    mssh_channel_state state;
    mssh_lua_channel *row;

    luaL_argcheck(L, mode != MSSH_LUA_MERGE || stream == MSSH_STDERR, 4, "only stderr can be merged");
    if (!mssh_channel_state_get(connection_of(self), channel, &state))
        return mssh_lua_push_failure(L, MSSH_ERR_NO_CHANNEL, NULL);
    row = mssh_lua_channel_row(self, channel);
    if (row == NULL)
        return mssh_lua_push_failure(L, MSSH_ERR_MEMORY, NULL);
    row->mode[stream] = mode;
    row->budget[stream] = (size_t)budget;
    lua_pushboolean(L, 1);
    return 1;
}

/* Crediting more than came would let the peer overrun what we promised to hold. */
static int session_channel_consumed(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);
    size_t len = (size_t)mssh_lua_check_range(L, 3, 0, LUA_MAXINTEGER);
    mssh_lua_channel *row = mssh_lua_channel_find(self, channel);

    if (row != NULL) {
        luaL_argcheck(L, len <= row->outstanding, 3, "more than was given");
        row->outstanding -= len;
        mssh_channel_consumed(connection_of(self), channel, len);
    }
    lua_pushboolean(L, row != NULL);
    return 1;
}

static int session_channel_state(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel_state state;

    if (!mssh_channel_state_get(connection_of(self), check_channel(L), &state)) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushboolean(L, state.open);
    lua_pushboolean(L, state.eof_received);
    lua_pushinteger(L, state.send_window);
    lua_pushinteger(L, state.receive_window);
    lua_pushinteger(L, state.window);
    return 5;
}

const luaL_Reg mssh_lua_session_channel_methods[] = {
    {"global_request", session_global_request},
    {"open", session_open},
    {"channel_request", session_channel_request},
    {"channel_write", session_channel_write},
    {"channel_eof", session_channel_eof},
    {"channel_close", session_channel_close},
    {"channel_release", session_channel_release},
    {"channels", session_channels},
    {"channel_kept", session_channel_kept},
    {"channel_take", session_channel_take},
    {"channel_find", session_channel_find},
    {"channel_mode", session_channel_mode},
    {"channel_consumed", session_channel_consumed},
    {"channel_state", session_channel_state},
    {"want", session_want},
    {"channel_accept", session_channel_accept},
    {"channel_refuse", session_channel_refuse},
    {"channel_to_fd", mssh_lua_session_channel_to_fd},
    {"channel_from_fd", mssh_lua_session_channel_from_fd},
    {NULL, NULL},
};
