/*
 * The specs' view into the core: a second Lua module, `require "moonssh_testing"`, that is built next to the
 * core and never installed. Each part is a file of its own and one field of the module's table.
 */
#ifndef MSSH_TESTING_TESTING_H
#define MSSH_TESTING_TESTING_H

#include <lua.h>

/* Each opens one part: pushes the table of its functions and returns 1. May be called again in the same
 * state. */
int mssh_testing_open_base(lua_State *L);
int mssh_testing_open_crypto(lua_State *L);
int mssh_testing_open_auth(lua_State *L);
int mssh_testing_open_connection(lua_State *L);
int mssh_testing_open_faults(lua_State *L);
int mssh_testing_open_heap(lua_State *L);
int mssh_testing_open_keys(lua_State *L);
int mssh_testing_open_process(lua_State *L);
int mssh_testing_open_scan(lua_State *L);
int mssh_testing_open_session(lua_State *L);
int mssh_testing_open_socket(lua_State *L);
int mssh_testing_open_state(lua_State *L);
int mssh_testing_open_transport(lua_State *L);

#endif
