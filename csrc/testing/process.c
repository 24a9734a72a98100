#include "testing/testing.h"

#include <lauxlib.h>
#include <time.h>
#include <unistd.h>

/* process.now() -> seconds on the monotonic clock */
static int now(lua_State *L)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    lua_pushnumber(L, (lua_Number)time.tv_sec + (lua_Number)time.tv_nsec / 1e9);
    return 1;
}

static const luaL_Reg functions[] = {
    {"now", now},
    {NULL, NULL},
};

int mssh_testing_open_process(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
