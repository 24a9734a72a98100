#include "connection/connection.h"

#include "testing/channel.h"
#include "testing/heap.h"
#include "testing/outbox.h"
#include "testing/testing.h"

#include <lauxlib.h>
#include <stdlib.h>

#define CONNECTION "moonssh_testing.connection"

typedef struct connection_box {
    mssh_connection *connection;
    mssh_failure failure;
    mssh_testing_outbox box;
} connection_box;

static lua_Integer option(lua_State *L, int index, const char *name)
{
    lua_Integer value = 0;

    if (lua_istable(L, index)) {
        lua_getfield(L, index, name);
        value = luaL_optinteger(L, -1, 0);
        lua_pop(L, 1);
    }
    return value;
}

mssh_connection_options mssh_testing_connection_options(lua_State *L, int index)
{
    return (mssh_connection_options){
        .max_channels = (size_t)option(L, index, "max_channels"),
        .initial_window = (uint32_t)option(L, index, "initial_window"),
        .max_window = (uint32_t)option(L, index, "max_window"),
        .max_total_window = (uint64_t)option(L, index, "max_total_window"),
        .max_packet = (uint32_t)option(L, index, "max_packet"),
    };
}

/* connection.new(heap, options) -> connection, or nil when out of memory */
static int connection_new(lua_State *L)
{
    mssh_connection_options options = mssh_testing_connection_options(L, 2);
    connection_box *self;

    lua_settop(L, 2);
    self = lua_newuserdatauv(L, sizeof *self, 1);
    memset(self, 0, sizeof *self);
    mssh_testing_outbox_init(&self->box);
    self->connection =
        mssh_connection_new(mssh_testing_heap_use(L, 1), &self->box.outbox, &options, &self->failure);
    if (self->connection == NULL)
        return 0;
    luaL_setmetatable(L, CONNECTION);
    return 1;
}

static connection_box *check(lua_State *L)
{
    connection_box *self = luaL_checkudata(L, 1, CONNECTION);
    luaL_argcheck(L, self->connection != NULL, 1, "closed");
    return self;
}

static int connection_close(lua_State *L)
{
    connection_box *self = luaL_checkudata(L, 1, CONNECTION);
    mssh_connection_free(self->connection);
    self->connection = NULL;
    mssh_testing_outbox_clear(&self->box);
    return 0;
}

/* connection:handle(payload) -> event table, or nil, err */
static int connection_handle(lua_State *L)
{
    static const char *const names[] = {
        "none",   "opened", "asked",       "open_failed", "data",    "window",       "eof",
        "closed", "reply",  "exit_status", "exit_signal", "request", "global_reply", "global_request"};
    connection_box *self = check(L);
    mssh_slice payload = mssh_testing_copy_slice(L, 2);
    mssh_connection_event event = {0};
    int err = mssh_connection_handle(self->connection, payload, &event);
    int n_results;

    if (err == 0) {
        lua_newtable(L);
        lua_pushstring(L, names[event.type]);
        lua_setfield(L, -2, "type");
        mssh_testing_set_connection_event(L, &event);
        n_results = 1;
    } else {
        n_results = mssh_testing_push_result(L, err);
    }
    free((void *)payload.data);
    return n_results;
}

/* connection:sent() -> list of payloads sent since the last call, list of whether they were concealed */
static int connection_sent(lua_State *L)
{
    return mssh_testing_outbox_take(L, &check(L)->box);
}

/* connection:limit(room, error) */
static int connection_limit(lua_State *L)
{
    return mssh_testing_outbox_limit(L, &check(L)->box);
}

/* connection:failure() -> code, message, reason, or nil */
static int connection_failure(lua_State *L)
{
    return mssh_testing_push_failure(L, &check(L)->failure);
}

static mssh_connection *bare(lua_State *L)
{
    return check(L)->connection;
}

static const luaL_Reg methods[] = {
    {"handle", connection_handle},   {"sent", connection_sent},   {"limit", connection_limit},
    {"failure", connection_failure}, {"close", connection_close}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", connection_new},
    {NULL, NULL},
};

int mssh_testing_open_connection(lua_State *L)
{
    luaL_newmetatable(L, CONNECTION);
    luaL_newlib(L, methods);
    mssh_testing_add_channel_methods(L, bare);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, connection_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
