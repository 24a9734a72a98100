#include "testing/heap.h"

#include "testing/testing.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>

#define HEAP "moonssh_testing.heap"

typedef struct heap {
    mssh_mem mem;
    lua_Integer allocations; /* asked for so far */
    lua_Integer fail_at;     /* the number of the one that fails; 0: none */
    bool fail_on;            /* all after it fail, too */
} heap;

static void *allocate(void *ud, void *ptr, size_t osize, size_t nsize)
{
    heap *self = ud;

    (void)osize;
    if (nsize == 0) {
        free(ptr);
        return NULL;
    }
    self->allocations++;
    if (self->fail_at > 0 &&
        (self->allocations == self->fail_at || (self->fail_on && self->allocations > self->fail_at)))
        return NULL;
    return malloc(nsize);
}

/* heap.new(fail_at, fail_on) -> heap: the fail_at-th allocation fails, and with fail_on all after it */
static int heap_new(lua_State *L)
{
    lua_Integer fail_at = luaL_optinteger(L, 1, 0);
    bool fail_on = lua_toboolean(L, 2);
    heap *self = lua_newuserdatauv(L, sizeof *self, 0);

    *self = (heap){.fail_at = fail_at, .fail_on = fail_on};
    mssh_mem_init(&self->mem, allocate, self);
    luaL_setmetatable(L, HEAP);
    return 1;
}

mssh_mem *mssh_testing_heap_use(lua_State *L, int index)
{
    heap *self;

    if (lua_isnoneornil(L, index)) {
        lua_pushcfunction(L, heap_new);
        lua_call(L, 0, 1);
    } else {
        luaL_checkudata(L, index, HEAP);
        lua_pushvalue(L, index);
    }
    self = lua_touserdata(L, -1);
    lua_setiuservalue(L, -2, 1);
    return &self->mem;
}

/* heap:in_use() -> bytes allocated now */
static int heap_in_use(lua_State *L)
{
    heap *self = luaL_checkudata(L, 1, HEAP);
    lua_pushinteger(L, (lua_Integer)self->mem.in_use);
    return 1;
}

/* heap:peak() -> most bytes allocated at once since the last call of peak */
static int heap_peak(lua_State *L)
{
    heap *self = luaL_checkudata(L, 1, HEAP);
    lua_pushinteger(L, (lua_Integer)self->mem.peak);
    self->mem.peak = self->mem.in_use;
    return 1;
}

/* heap:allocations() -> how many allocations were asked for so far */
static int heap_allocations(lua_State *L)
{
    heap *self = luaL_checkudata(L, 1, HEAP);
    lua_pushinteger(L, self->allocations);
    return 1;
}

/* heap:fail(n, fail_on): the n-th allocation from now fails, and with fail_on all after it; 0: none */
static int heap_fail(lua_State *L)
{
    heap *self = luaL_checkudata(L, 1, HEAP);
    lua_Integer n = luaL_checkinteger(L, 2);

    self->fail_at = n > 0 ? self->allocations + n : 0;
    self->fail_on = lua_toboolean(L, 3);
    return 0;
}

static const luaL_Reg methods[] = {
    {"in_use", heap_in_use}, {"peak", heap_peak}, {"allocations", heap_allocations},
    {"fail", heap_fail},     {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"new", heap_new},
    {NULL, NULL},
};

int mssh_testing_open_heap(lua_State *L)
{
    luaL_newmetatable(L, HEAP);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
