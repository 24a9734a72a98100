/*
 * What the files of core.socket share.
 */
#ifndef MSSH_BINDING_SOCKET_H
#define MSSH_BINDING_SOCKET_H

#include "binding/binding.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef union mssh_lua_address {
    struct sockaddr any;
    struct sockaddr_in inet;
    struct sockaddr_in6 inet6;
    struct sockaddr_un local;
} mssh_lua_address;

/* Reads an address that core.resolve made, of either internet family, and gives its length. */
socklen_t mssh_lua_check_address(lua_State *L, int arg, mssh_lua_address *out);

/* The functions of socket_listen.c, as luaL_setfuncs takes them. */
extern const luaL_Reg mssh_lua_listen_functions[];

#endif
