#include "binding/binding.h"

#include <unistd.h>

/* Lists of methods that a class may have. */
#define N_LISTS (sizeof((mssh_lua_class *)NULL)->methods / sizeof(luaL_Reg *))

/* The metatable is an upvalue of every method: comparing it costs less than looking it up by its name. The
 * rest is there for those who forge with the debug library. */
static void *object_test(lua_State *L, int arg, const mssh_lua_class *class)
{
    mssh_lua_object *object = lua_touserdata(L, arg);
    bool is_ours;

    if (object == NULL || !lua_getmetatable(L, arg))
        return NULL;
    is_ours = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    return is_ours && lua_rawlen(L, arg) >= class->size && object->tag == class->tag ? object : NULL;
}

void *mssh_lua_object_new(lua_State *L, const mssh_lua_class *class, int n_values)
{
    mssh_lua_object *object = lua_newuserdatauv(L, class->size, n_values);

    memset(object, 0, class->size);
    object->tag = class->tag;
    luaL_setmetatable(L, class->name);
    return object;
}

void *mssh_lua_object_check(lua_State *L, int arg, const mssh_lua_class *class)
{
    mssh_lua_object *object = object_test(L, arg, class);

    if (object == NULL)
        luaL_typeerror(L, arg, class->name);
    else if (object->closed)
        luaL_argerror(L, arg, "it is closed");
    return object;
}

/* close, __close and __gc alike. The class is the second upvalue, so that one function serves all. */
static int object_close(lua_State *L)
{
    const mssh_lua_class *class = lua_touserdata(L, lua_upvalueindex(2));
    mssh_lua_object *object = object_test(L, 1, class);

    if (object == NULL)
        return luaL_typeerror(L, 1, class->name);
    if (!object->closed) {
        object->closed = true;
        class->release(object);
    }
    return 0;
}

/* The metatable is registered when it is complete: running out of memory on the way leaves none. */
void mssh_lua_class_open(lua_State *L, const mssh_lua_class *class)
{
    if (luaL_getmetatable(L, class->name) == LUA_TNIL) {
        lua_newtable(L);
        lua_newtable(L);
        for (size_t i = 0; i < N_LISTS && class->methods[i] != NULL; i++) {
            lua_pushvalue(L, -2);
            luaL_setfuncs(L, class->methods[i], 1);
        }
        lua_pushvalue(L, -2);
        lua_pushlightuserdata(L, (void *)(uintptr_t) class);
        lua_pushcclosure(L, object_close, 2);
        lua_pushvalue(L, -1);
        lua_setfield(L, -4, "__gc");
        lua_pushvalue(L, -1);
        lua_setfield(L, -4, "__close");
        lua_setfield(L, -2, "close");
        lua_setfield(L, -2, "__index");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_pushstring(L, class->name);
        lua_setfield(L, -2, "__name");
        lua_setfield(L, LUA_REGISTRYINDEX, class->name);
    }
    lua_pop(L, 1);
}

void mssh_lua_mem_init(lua_State *L, mssh_mem *mem)
{
    void *ud = NULL;
    lua_Alloc alloc = lua_getallocf(L, &ud);

    mssh_mem_init(mem, alloc, ud);
}

static void box_release(void *object)
{
    mssh_lua_box_release(object);
}

static const mssh_lua_class box_class = {
    .name = "moonssh.core.box",
    .tag = 0x626f7821,
    .size = sizeof(mssh_lua_box),
    .release = box_release,
};

mssh_lua_box *mssh_lua_box_new(lua_State *L, size_t max)
{
    mssh_lua_box *box;

    mssh_lua_class_open(L, &box_class);
    box = mssh_lua_object_new(L, &box_class, 0);
    mssh_lua_mem_init(L, &box->mem);
    mssh_buf_init(&box->buf, &box->mem, max);
    box->fd = -1;
    return box;
}

void mssh_lua_box_release(mssh_lua_box *box)
{
    if (box->fd >= 0)
        (void)close(box->fd);
    box->fd = -1;
    if (box->buf.mem != NULL)
        mssh_buf_free(&box->buf);
}
