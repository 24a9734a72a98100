/*
 * The authentication commands as Lua methods, for every testing object that has an authentication.
 */
#ifndef MSSH_TESTING_AUTHENTICATION_H
#define MSSH_TESTING_AUTHENTICATION_H

#include "auth/auth.h"

#include <lua.h>

/* The authentication of the object at index 1; raises when it is none. */
typedef mssh_auth *mssh_testing_auth_of(lua_State *L);

/* The claim in the arguments from `index` on: user, algorithm, blob, server_key, host, host_user. */
mssh_auth_claim mssh_testing_claim(lua_State *L, int index);

/* Adds the methods none, password, probe, publickey, hostbased, interactive and answer to the table on top of
 * the stack. */
void mssh_testing_add_auth_methods(lua_State *L, mssh_testing_auth_of *of);

#endif
