/*
 * What the parts of the testing module share: slices from arguments, results of the core to Lua.
 */
#ifndef MSSH_TESTING_UTIL_H
#define MSSH_TESTING_UTIL_H

#include "base/buf.h"
#include "base/error.h"
#include "keys/key.h"

#include <lauxlib.h>

/* A string argument as a view, valid as long as it is on the stack; or what stands for a huge one. */
mssh_slice mssh_testing_slice(lua_State *L, int index);

/* The same; without a value there, the view whose data is NULL. */
mssh_slice mssh_testing_opt_slice(lua_State *L, int index);

/* Pushes nil, the name of an mssh_err, and the failure's message (nil without one); returns 3. */
int mssh_testing_push_error(lua_State *L, int code, const mssh_failure *failure);

/* Pushes a string with the content of a buffer, and frees the buffer; or the error, if code is one. Returns
 * what the Lua function returns. */
int mssh_testing_push_buf(lua_State *L, int code, mssh_buf *buf);

/* Makes a class: a metatable of this name with methods; `gc` (may be NULL) also runs for <close>. */
void mssh_testing_new_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);

/* The key at a stack index; valid as long as the value there. */
mssh_key *mssh_testing_key(lua_State *L, int index);

/* Adds the key exchanges to the table on top of the stack. */
void mssh_testing_add_kem(lua_State *L);

/* Adds the post-quantum halves of the hybrids to the table on top of the stack. */
void mssh_testing_add_kem_pq(lua_State *L);

/* Adds what key files derive their keys with to the table on top of the stack. */
void mssh_testing_add_derivation(lua_State *L);

/* Adds UMAC to the table on top of the stack. */
void mssh_testing_add_umac(lua_State *L);

/* The view of what stands for a huge string at a stack index; false, and nothing given, where there is none.
 */
bool mssh_testing_huge(lua_State *L, int index, mssh_slice *slice);

/* Adds strings that are huge to the table on top of the stack. */
void mssh_testing_add_huge(lua_State *L);

/* Adds buffers and memory to the table on top of the stack. */
void mssh_testing_add_buffer(lua_State *L);

#endif
