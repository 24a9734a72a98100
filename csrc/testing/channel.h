/*
 * The channel commands as Lua methods, for every testing object that has a connection.
 */
#ifndef MSSH_TESTING_CHANNEL_H
#define MSSH_TESTING_CHANNEL_H

#include "connection/connection.h"

#include <lua.h>

/* The connection of the object at index 1; raises when it is none. */
typedef mssh_connection *mssh_testing_connection_of(lua_State *L);

/* Adds the methods want, accept, refuse, room, global_request, open, request, write, eof, close_channel,
 * release, keep, kept, take, consumed and state to the table on top of the stack. */
void mssh_testing_add_channel_methods(lua_State *L, mssh_testing_connection_of *of);

/* The options in the table at an index; zeros where there is none. */
mssh_connection_options mssh_testing_connection_options(lua_State *L, int index);

#endif
