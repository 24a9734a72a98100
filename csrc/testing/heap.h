/*
 * An allocator for specs: it counts, and fails when told to. In Lua a heap is an object of its own that is
 * handed to what is to be tested, so that its numbers can still be read when that is closed.
 */
#ifndef MSSH_TESTING_HEAP_H
#define MSSH_TESTING_HEAP_H

#include "base/mem.h"

#include <lua.h>

/* The allocator of the heap at a stack index, or of a new one when it is nil (lua_settop first: an
 * argument left out must be there as nil). Keeps the heap alive
 * as user value 1 of the userdata on top of the stack. */
mssh_mem *mssh_testing_heap_use(lua_State *L, int index);

#endif
