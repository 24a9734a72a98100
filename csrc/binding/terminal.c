/* core.terminal: the modes and the size of a terminal, for an interactive shell. */
#include "binding/binding.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <termios.h>

static int terminal_raw(lua_State *L)
{
    int fd = mssh_lua_check_fd(L, 1);
    struct termios before, raw;

    if (tcgetattr(fd, &before) != 0)
        return mssh_lua_push_errno(L, "io", errno);
    raw = before;
    cfmakeraw(&raw);
    lua_pushlstring(L, (const char *)&before, sizeof before); /* first: it may fail for want of memory */
    if (tcsetattr(fd, TCSADRAIN, &raw) != 0)
        return mssh_lua_push_errno(L, "io", errno);
    return 1;
}

static int terminal_restore(lua_State *L)
{
    int fd = mssh_lua_check_fd(L, 1);
    mssh_slice saved = mssh_lua_check_slice(L, 2);
    struct termios before;

    luaL_argcheck(L, saved.len == sizeof before, 2, "not the modes of a terminal");
    memcpy(&before, saved.data, sizeof before);
    if (tcsetattr(fd, TCSADRAIN, &before) != 0)
        return mssh_lua_push_errno(L, "io", errno);
    lua_pushboolean(L, 1);
    return 1;
}

static int terminal_size(lua_State *L)
{
    int fd = mssh_lua_check_fd(L, 1);
    struct winsize size = {0};

    if (ioctl(fd, TIOCGWINSZ, &size) != 0)
        return mssh_lua_push_errno(L, "io", errno);
    lua_pushinteger(L, size.ws_col);
    lua_pushinteger(L, size.ws_row);
    return 2;
}

static const luaL_Reg functions[] = {
    {"raw", terminal_raw},
    {"restore", terminal_restore},
    {"size", terminal_size},
    {NULL, NULL},
};

void mssh_lua_open_terminal(lua_State *L)
{
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "terminal");
}
