/*
 * A local file as an object: what a transfer reads from or writes to.
 */
#ifndef MSSH_BINDING_LOCAL_H
#define MSSH_BINDING_LOCAL_H

#include "binding/binding.h"

typedef struct mssh_lua_local {
    mssh_lua_object object;
    int fd; /* -1 once it is closed */
} mssh_lua_local;

/* The file at `arg`, of whatever function; raises when it is something else, or closed. */
mssh_lua_local *mssh_lua_local_check(lua_State *L, int arg);

/* Reads up to `len` bytes at an offset, all there are: how many, or a negated errno. */
ssize_t mssh_lua_local_read(const mssh_lua_local *local, uint64_t offset, void *place, size_t len);

/* Writes all bytes at an offset: 0 or a negated errno. */
int mssh_lua_local_write(const mssh_lua_local *local, uint64_t offset, mssh_slice bytes);

/* Adds the functions for local files to core.file, the table at the top of the stack. */
void mssh_lua_open_local(lua_State *L);

#endif
