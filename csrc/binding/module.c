/* require "moonssh.core": one table, each part of it in a file of its own. */
#include "binding/binding.h"

/* Also the version in the identification string. */
static const char version[] = "0.1.0";

__attribute__((visibility("default"))) int luaopen_moonssh_core(lua_State *L);

/* May be called again in a state, and in several states of several threads: there is no global state. */
int luaopen_moonssh_core(lua_State *L)
{
    luaL_checkversion(L);
    lua_newtable(L);
    lua_pushstring(L, version);
    lua_setfield(L, -2, "version");
    mssh_lua_open_util(L);
    mssh_lua_open_poller(L);
    mssh_lua_open_socket(L);
    mssh_lua_open_terminal(L);
    mssh_lua_open_resolver(L);
    mssh_lua_open_file(L);
    mssh_lua_open_lock(L);
    mssh_lua_open_process(L);
    mssh_lua_open_key(L);
    mssh_lua_open_algorithms(L);
    mssh_lua_open_session(L);
    mssh_lua_open_sftp(L);
    return 1;
}
