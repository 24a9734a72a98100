#include "testing/util.h"

mssh_slice mssh_testing_slice(lua_State *L, int index)
{
    mssh_slice slice;
    size_t len;
    const char *bytes;

    if (mssh_testing_huge(L, index, &slice))
        return slice;
    bytes = luaL_checklstring(L, index, &len);
    return mssh_slice_of(bytes, len);
}

mssh_slice mssh_testing_opt_slice(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? MSSH_SLICE_EMPTY : mssh_testing_slice(L, index);
}

int mssh_testing_push_error(lua_State *L, int code, const mssh_failure *failure)
{
    lua_pushnil(L);
    lua_pushstring(L, mssh_err_name(code));
    if (failure != NULL && failure->code != 0)
        lua_pushstring(L, failure->message);
    else
        lua_pushnil(L);
    return 3;
}

int mssh_testing_push_buf(lua_State *L, int code, mssh_buf *buf)
{
    mssh_slice bytes = mssh_buf_slice(buf);

    if (code == 0)
        lua_pushlstring(L, (const char *)bytes.data, bytes.len);
    mssh_buf_free(buf);
    return code == 0 ? 1 : mssh_testing_push_error(L, code, NULL);
}

void mssh_testing_new_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    if (gc != NULL) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__close");
    }
    lua_pop(L, 1);
}
