#include "auth/auth.h"

#include "testing/authentication.h"
#include "testing/heap.h"
#include "testing/outbox.h"
#include "testing/testing.h"
#include "testing/util.h"

#include <lauxlib.h>
#include <stdlib.h>

#define AUTH "moonssh_testing.auth"

typedef struct auth_box {
    mssh_auth *auth;
    mssh_failure failure;
    mssh_testing_outbox box;
} auth_box;

/* auth.new(heap) -> auth, or nil when out of memory */
static int auth_new(lua_State *L)
{
    auth_box *self;

    lua_settop(L, 1);
    self = lua_newuserdatauv(L, sizeof *self, 1);
    memset(self, 0, sizeof *self);
    mssh_testing_outbox_init(&self->box);
    self->auth = mssh_auth_new(mssh_testing_heap_use(L, 1), &self->box.outbox, &self->failure);
    if (self->auth == NULL)
        return 0;
    luaL_setmetatable(L, AUTH);
    return 1;
}

static auth_box *check(lua_State *L)
{
    auth_box *self = luaL_checkudata(L, 1, AUTH);
    luaL_argcheck(L, self->auth != NULL, 1, "closed");
    return self;
}

static int auth_close(lua_State *L)
{
    auth_box *self = luaL_checkudata(L, 1, AUTH);
    mssh_auth_free(self->auth);
    self->auth = NULL;
    mssh_testing_outbox_clear(&self->box);
    return 0;
}

static mssh_auth *bare(lua_State *L)
{
    return check(L)->auth;
}

/* auth:handle(payload) -> event table, or nil, err */
static int auth_handle(lua_State *L)
{
    static const char *const names[] = {"none",  "banner",          "success", "failure",
                                        "pk_ok", "password_change", "prompts"};
    auth_box *self = check(L);
    mssh_slice payload = mssh_testing_copy_slice(L, 2);
    mssh_auth_event event = {0};
    int err = mssh_auth_handle(self->auth, payload, &event);
    int n_results;

    if (err == 0) {
        lua_newtable(L);
        lua_pushstring(L, names[event.type]);
        lua_setfield(L, -2, "type");
        mssh_testing_set_auth_event(L, event);
        n_results = 1;
    } else {
        n_results = mssh_testing_push_result(L, err);
    }
    free((void *)payload.data);
    return n_results;
}

/* auth:sent() -> list of payloads sent since the last call, list of whether they were concealed */
static int auth_sent(lua_State *L)
{
    return mssh_testing_outbox_take(L, &check(L)->box);
}

/* auth:limit(room, error) */
static int auth_limit(lua_State *L)
{
    return mssh_testing_outbox_limit(L, &check(L)->box);
}

/* auth:failure() -> code, message, reason, or nil */
static int auth_failure(lua_State *L)
{
    return mssh_testing_push_failure(L, &check(L)->failure);
}

/* auth.signing_data(session_id, user, algorithm, blob, server_key, host, host_user) -> bytes to sign */
static int signing_data(lua_State *L)
{
    mssh_auth_claim claim = mssh_testing_claim(L, 2);
    mssh_mem mem;
    mssh_buf out;

    mssh_mem_init(&mem, NULL, NULL);
    mssh_buf_init(&out, &mem, 1 << 20);
    mssh_auth_signing_data(mssh_testing_opt_slice(L, 1), &claim, &out);
    lua_pushlstring(L, (const char *)mssh_buf_slice(&out).data, mssh_buf_len(&out));
    mssh_buf_free(&out);
    return 1;
}

static const luaL_Reg methods[] = {
    {"handle", auth_handle},   {"sent", auth_sent},   {"limit", auth_limit},
    {"failure", auth_failure}, {"close", auth_close}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", auth_new},
    {"signing_data", signing_data},
    {NULL, NULL},
};

int mssh_testing_open_auth(lua_State *L)
{
    luaL_newmetatable(L, AUTH);
    luaL_newlib(L, methods);
    mssh_testing_add_auth_methods(L, bare);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, auth_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
