#include "binding/binding.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>

mssh_slice mssh_lua_check_slice(lua_State *L, int arg)
{
    size_t len = 0;
    const char *bytes;

    luaL_checktype(L, arg, LUA_TSTRING);
    bytes = lua_tolstring(L, arg, &len);
    return mssh_slice_of(bytes, len);
}

mssh_slice mssh_lua_opt_slice(lua_State *L, int arg)
{
    return lua_isnoneornil(L, arg) ? MSSH_SLICE_EMPTY : mssh_lua_check_slice(L, arg);
}

const char *mssh_lua_check_text(lua_State *L, int arg)
{
    mssh_slice text = mssh_lua_check_slice(L, arg);

    luaL_argcheck(L, strlen((const char *)text.data) == text.len, arg, "string contains zeros");
    return (const char *)text.data;
}

lua_Integer mssh_lua_check_range(lua_State *L, int arg, lua_Integer min, lua_Integer max)
{
    lua_Integer value = luaL_checkinteger(L, arg);

    luaL_argcheck(L, value >= min && value <= max, arg, "value out of range");
    return value;
}

lua_Integer mssh_lua_opt_range(lua_State *L, int arg, lua_Integer standard, lua_Integer min, lua_Integer max)
{
    return lua_isnoneornil(L, arg) ? standard : mssh_lua_check_range(L, arg, min, max);
}

int mssh_lua_check_fd(lua_State *L, int arg)
{
    return (int)mssh_lua_check_range(L, arg, 0, INT_MAX);
}

lua_Number mssh_lua_check_seconds(lua_State *L, int arg)
{
    lua_Number seconds = luaL_checknumber(L, arg);

    luaL_argcheck(L, isfinite(seconds), arg, "number is not finite");
    return seconds;
}

uint64_t mssh_lua_opt_time(lua_State *L, int arg)
{
    lua_Number seconds = lua_isnoneornil(L, arg) ? INFINITY : luaL_checknumber(L, arg);

    luaL_argcheck(L, !isnan(seconds), arg, "number is not a number");
    /* Rounded up: waking a little early would have the caller come back at once, many times. */
    return seconds <= 0 ? 0 : seconds < 1e15 ? (uint64_t)ceil(seconds * 1000) : UINT64_MAX;
}

void mssh_lua_push_slice(lua_State *L, mssh_slice slice)
{
    lua_pushlstring(L, (const char *)slice.data, slice.len);
}

/* strerror_r comes in two kinds: the one of POSIX fills the buffer, GNU's may return a text of its own. */
static const char *text_from_posix(int status, const char *buffer)
{
    return status == 0 ? buffer : "unknown error";
}

static const char *text_from_gnu(const char *text, const char *buffer)
{
    (void)buffer;
    return text;
}

int mssh_lua_push_errno(lua_State *L, const char *code, int number)
{
    char buffer[128] = "";

    lua_pushnil(L);
    lua_pushstring(L, number == ENOMEM ? "memory" : code);
    lua_pushstring(L, _Generic(strerror_r(number, buffer, sizeof buffer),
                               int: text_from_posix,
                               char *: text_from_gnu)(strerror_r(number, buffer, sizeof buffer), buffer));
    lua_pushinteger(L, number);
    return 4;
}

/* What a code says when nobody left a message. */
static const char *code_text(int code)
{
    switch (code) {
    case MSSH_ERR_MEMORY:
        return "not enough memory";
    case MSSH_ERR_LIMIT:
        return "a limit was reached";
    case MSSH_ERR_UNSUPPORTED:
        return "not supported by this build or by OpenSSL as it is configured";
    case MSSH_ERR_KEY_FORMAT:
        return "not a key, or a damaged one";
    case MSSH_ERR_PASSPHRASE:
        return "the passphrase is missing or wrong";
    case MSSH_ERR_CLOSED:
        return "the session is closed";
    case MSSH_ERR_STATE:
        return "not possible in this state";
    case MSSH_ERR_NO_CHANNEL:
        return "the channel is closed";
    default:
        return mssh_err_name(code);
    }
}

int mssh_lua_push_failure(lua_State *L, int code, const mssh_failure *failure)
{
    bool told = failure != NULL && failure->code == code && failure->message[0] != '\0';

    lua_pushnil(L);
    lua_pushstring(L, told ? failure->message : code_text(code)); /* first: a view ends with the next push */
    lua_pushstring(L, mssh_err_name(code));
    lua_insert(L, -2);
    return 3;
}

int mssh_lua_push_result(lua_State *L, int code, const mssh_failure *failure)
{
    if (code != 0)
        return mssh_lua_push_failure(L, code, failure);
    lua_pushboolean(L, 1);
    return 1;
}
