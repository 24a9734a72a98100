#include "testing/testing.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stddef.h>

/* One row a part: the field of the module's table, and what fills it. */
/* clang-format off */
static const luaL_Reg parts[] = {
    {"auth", mssh_testing_open_auth},
    {"base", mssh_testing_open_base},
    {"connection", mssh_testing_open_connection},
    {"crypto", mssh_testing_open_crypto},
    {"faults", mssh_testing_open_faults},
    {"heap", mssh_testing_open_heap},
    {"keys", mssh_testing_open_keys},
    {"process", mssh_testing_open_process},
    {"scan", mssh_testing_open_scan},
    {"session", mssh_testing_open_session},
    {"socket", mssh_testing_open_socket},
    {"state", mssh_testing_open_state},
    {"transport", mssh_testing_open_transport},
};
/* clang-format on */

__attribute__((visibility("default"))) int luaopen_moonssh_testing(lua_State *L);

int luaopen_moonssh_testing(lua_State *L)
{
    lua_newtable(L);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        lua_pushcfunction(L, parts[i].func);
        lua_call(L, 0, 1);
        lua_setfield(L, -2, parts[i].name);
    }
    return 1;
}
