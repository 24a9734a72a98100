/*
 * base.huge(len) -> what stands for a string of so many bytes wherever the testing module takes one. The
 * first 64 KiB may be read, and are all "x"; whoever looks at what is behind them is ended by the system.
 */
#include "testing/util.h"

#include <string.h>
#include <sys/mman.h>

#define HUGE "moonssh_testing.huge"

enum { READABLE = 1 << 16, GUARD = 1 << 16 };

typedef struct huge {
    uint8_t *bytes;
    size_t len;
} huge;

static int huge_close(lua_State *L)
{
    huge *self = luaL_checkudata(L, 1, HUGE);

    if (self->bytes != NULL)
        (void)munmap(self->bytes, READABLE + GUARD);
    self->bytes = NULL;
    return 0;
}

static int huge_new(lua_State *L)
{
    size_t len = (size_t)luaL_checkinteger(L, 1);
    huge *self = lua_newuserdatauv(L, sizeof *self, 0);
    void *bytes;

    *self = (huge){NULL, len};
    luaL_setmetatable(L, HUGE);
    bytes = mmap(NULL, READABLE + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return luaL_error(L, "no address space");
    self->bytes = bytes;
    memset(self->bytes, 'x', READABLE);
    if (mprotect(self->bytes + READABLE, GUARD, PROT_NONE) != 0)
        return luaL_error(L, "no guard");
    return 1;
}

bool mssh_testing_huge(lua_State *L, int index, mssh_slice *slice)
{
    huge *self = luaL_testudata(L, index, HUGE);

    if (self == NULL)
        return false;
    *slice = mssh_slice_of(self->bytes, self->len);
    return true;
}

void mssh_testing_add_huge(lua_State *L)
{
    static const luaL_Reg methods[] = {{NULL, NULL}};

    mssh_testing_new_class(L, HUGE, methods, huge_close);
    lua_pushcfunction(L, huge_new);
    lua_setfield(L, -2, "huge");
}
