/*
 * The parts of the specs' view into the transport: sessions of either role (transport.c) and what is to be
 * seen of them (transport_view.c); single seals, the key derivation, the gate and the algorithms (seal.c),
 * for peers made by hand.
 */
#ifndef MSSH_TESTING_TRANSPORT_H
#define MSSH_TESTING_TRANSPORT_H

#include "transport/transport.h"

#include <lua.h>

/* The transport that is argument 1. */
mssh_transport *mssh_testing_transport(lua_State *L);

/* Pushes true for 0, else nil and the name of the error. Returns how many values. */
int mssh_testing_result(lua_State *L, int code);

/* Pushes bytes as a string. */
void mssh_testing_push_slice(lua_State *L, mssh_slice bytes);

/* Sets a field of the table on top of the stack. */
void mssh_testing_set_text(lua_State *L, const char *field, const char *text);

/* Adds the functions of seal.c, or the methods of transport_view.c, to the table on top of the stack. */
void mssh_testing_add_seals(lua_State *L);
void mssh_testing_add_transport_views(lua_State *L);

#endif
