/*
 * Further Lua states for the specs: with an allocator that fails when told to, and in threads of their own.
 * What such a state leaves allocated when it is closed is counted.
 */
#include "testing/testing.h"

#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESULT_MAX = 1024, THREADS_MAX = 64 };

/* One state's run: what to do, the allocator's account, and what came out. */
typedef struct run {
    const char *setup;      /* run before counting begins; may be NULL */
    const char *code;       /* its first result, or the error, is the result */
    lua_Integer fail_at;    /* the number of the first allocation that fails; 0: none */
    lua_Integer fail_count; /* how many fail from there on */
    bool counting;
    lua_Integer allocations; /* since counting began */
    size_t live;             /* bytes */
    bool ok;
    char result[RESULT_MAX];
} run;

static void *allocate(void *ud, void *ptr, size_t osize, size_t nsize)
{
    run *self = ud;
    size_t old = ptr != NULL ? osize : 0;
    void *block;

    if (nsize == 0) {
        free(ptr);
        self->live -= old;
        return NULL;
    }
    /* Lua relies on it that shrinking does not fail. */
    if (self->counting && nsize > old) {
        lua_Integer number = ++self->allocations;
        if (self->fail_at > 0 && number >= self->fail_at && number - self->fail_at < self->fail_count)
            return NULL;
    }
    block = realloc(ptr, nsize);
    if (block != NULL)
        self->live += nsize - old;
    return block;
}

static int open_libraries(lua_State *L)
{
    luaL_openlibs(L);
    return 0;
}

/* Runs one chunk; false with its error in the result. */
static bool run_chunk(lua_State *L, run *self, const char *code)
{
    bool ok = luaL_loadbuffer(L, code, strlen(code), "=state") == LUA_OK && lua_pcall(L, 0, 1, 0) == LUA_OK;
    const char *text = lua_tostring(L, -1);

    snprintf(self->result, sizeof self->result, "%s", text != NULL ? text : "");
    lua_settop(L, 0);
    return ok;
}

static void run_state(run *self)
{
    lua_State *L = lua_newstate(allocate, self);

    if (L == NULL) {
        snprintf(self->result, sizeof self->result, "no memory for a state");
        return;
    }
    lua_pushcfunction(L, open_libraries);
    self->ok = lua_pcall(L, 0, 0, 0) == LUA_OK && (self->setup == NULL || run_chunk(L, self, self->setup));
    if (self->ok) {
        self->counting = true;
        self->ok = run_chunk(L, self, self->code);
        self->counting = false;
    }
    lua_close(L);
}

static void push_run(lua_State *L, const run *self)
{
    lua_createtable(L, 0, 4);
    lua_pushboolean(L, self->ok);
    lua_setfield(L, -2, "ok");
    lua_pushstring(L, self->result);
    lua_setfield(L, -2, "result");
    lua_pushinteger(L, self->allocations);
    lua_setfield(L, -2, "allocations");
    lua_pushinteger(L, (lua_Integer)self->live);
    lua_setfield(L, -2, "live");
}

/* state.run{ setup =, code =, fail_at =, fail_count = } -> { ok =, result =, allocations =, live = }: runs
 * code in a new state, where the allocations from number fail_at on fail (all of them, or fail_count); live
 * is what was still allocated after the state was closed. */
static int state_run(lua_State *L)
{
    run self = {0};

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "setup");
    self.setup = luaL_optstring(L, 2, NULL);
    lua_getfield(L, 1, "code");
    self.code = luaL_checkstring(L, 3);
    lua_getfield(L, 1, "fail_at");
    self.fail_at = luaL_optinteger(L, 4, 0);
    lua_getfield(L, 1, "fail_count");
    self.fail_count = luaL_optinteger(L, 5, LUA_MAXINTEGER);
    run_state(&self);
    push_run(L, &self);
    return 1;
}

static void *run_thread(void *argument)
{
    run_state(argument);
    return NULL;
}

/* state.threads(n, code) -> list of n results as of state.run, of n states in n threads at once */
static int state_threads(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    const char *code = luaL_checkstring(L, 2);
    pthread_t threads[THREADS_MAX];
    lua_Integer started = 0;
    run *runs;

    luaL_argcheck(L, n > 0 && n <= THREADS_MAX, 1, "out of range");
    runs = lua_newuserdatauv(L, (size_t)n * sizeof *runs, 0);
    memset(runs, 0, (size_t)n * sizeof *runs);
    for (; started < n; started++) {
        runs[started].code = code;
        if (pthread_create(&threads[started], NULL, run_thread, &runs[started]) != 0)
            break;
    }
    for (lua_Integer i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    lua_newtable(L);
    for (lua_Integer i = 0; i < n; i++) {
        push_run(L, &runs[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"run", state_run},
    {"threads", state_threads},
    {NULL, NULL},
};

int mssh_testing_open_state(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
