/*
 * A Lua interpreter that is built with the sanitizers, for `make asan`: the sanitizers' runtime must be in
 * the process from its start, and preloading it would also reach every server that a spec starts.
 *
 *    lua_asan [-e CODE] [SCRIPT [ARGUMENT…]]
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

/* Asked for by the sanitizers' runtime when it starts. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null="
           "1";
}

const char *__ubsan_default_options(void)
{
    return "print_stacktrace=1:halt_on_error=1";
}

static int add_traceback(lua_State *L)
{
    const char *message = luaL_tolstring(L, 1, NULL);

    luaL_traceback(L, L, message, 1);
    return 1;
}

/* The global table arg, as lua.c makes it: the script is 0, its arguments follow, what stands before is
 * negative. */
static void set_arguments(lua_State *L, int argc, char **argv, int script)
{
    lua_createtable(L, argc, 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - script);
    }
    lua_setglobal(L, "arg");
}

/* Runs a loaded chunk, on top of the stack after its load's status, with the script's arguments. */
static int run(lua_State *L, int status, int argc, char **argv)
{
    if (status == LUA_OK) {
        lua_pushcfunction(L, add_traceback);
        lua_insert(L, -2);
        for (int i = 0; i < argc; i++)
            lua_pushstring(L, argv[i]);
        status = lua_pcall(L, argc, 0, -argc - 2);
    }
    if (status != LUA_OK)
        fprintf(stderr, "lua_asan: %s\n", lua_tostring(L, -1));
    lua_settop(L, 0);
    return status;
}

int main(int argc, char **argv)
{
    lua_State *L = luaL_newstate();
    int code = argc > 2 && strcmp(argv[1], "-e") == 0 ? 2 : 0;
    int script = code + 1;
    int status = LUA_OK;

    if (L == NULL)
        return 1;
    luaL_openlibs(L);
    set_arguments(L, argc, argv, script < argc ? script : 0);
    if (code)
        status = run(L, luaL_loadbuffer(L, argv[code], strlen(argv[code]), "=(command line)"), 0, NULL);
    if (status == LUA_OK && script < argc)
        status = run(L, luaL_loadfile(L, argv[script]), argc - script - 1, argv + script + 1);
    lua_close(L);
    return status == LUA_OK ? 0 : 1;
}
