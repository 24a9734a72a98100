/* The options of core.session, and the algorithms that can be named in them. */
#include "binding/session.h"

#include <math.h>
#include <string.h>

static const char *const class_names[MSSH_N_ALG_CLASSES] = {
    [MSSH_ALG_KEX] = "kex", [MSSH_ALG_HOST_KEY] = "host_key",       [MSSH_ALG_CIPHER] = "cipher",
    [MSSH_ALG_MAC] = "mac", [MSSH_ALG_COMPRESSION] = "compression",
};

enum { SOFTWARE_MOST = 200 };

/* The number types that options are stored in. */
typedef enum option_kind { FLAG, SIZE, BITS64, BITS32, MILLISECONDS } option_kind;

typedef struct option_row {
    const char *name;
    option_kind kind;
    size_t offset;
} option_row;

#define TRANSPORT(field)  offsetof(mssh_session_options, transport.field)
#define CONNECTION(field) offsetof(mssh_session_options, connection.field)

static const option_row rows[] = {
    {"allow_chacha", FLAG, TRANSPORT(allow_chacha)},
    {"allow_cbc_etm", FLAG, TRANSPORT(allow_cbc_etm)},
    {"min_rsa_bits", BITS32, TRANSPORT(min_rsa_bits)},
    {"require_strict", FLAG, TRANSPORT(require_strict)},
    {"rekey_bytes", BITS64, TRANSPORT(rekey_bytes)},
    {"rekey_packets", BITS64, TRANSPORT(rekey_packets)},
    {"rekey_seconds", MILLISECONDS, TRANSPORT(rekey_ms)},
    {"max_packet", SIZE, TRANSPORT(max_packet)},
    {"max_queue", SIZE, TRANSPORT(max_queue)},
    {"max_channels", SIZE, CONNECTION(max_channels)},
    {"max_window", BITS32, CONNECTION(max_window)},
    {"channel_packet", BITS32, CONNECTION(max_packet)},
};

static int wrong_option(lua_State *L, const char *name, const char *why)
{
    return luaL_error(L, "bad option '%s' (%s)", name, why);
}

/* The value at the top of the stack as a whole number of at most `max`. */
static uint64_t whole_number(lua_State *L, const char *name, uint64_t max)
{
    int is_integer = 0;
    lua_Integer value = lua_tointegerx(L, -1, &is_integer);

    if (lua_type(L, -1) != LUA_TNUMBER || !is_integer)
        wrong_option(L, name, "integer expected");
    if (value < 0 || (uint64_t)value > max)
        wrong_option(L, name, "value out of range");
    return (uint64_t)value;
}

/* Above 0, since 0 means the default. */
static uint64_t milliseconds(lua_State *L, const char *name)
{
    lua_Number seconds = lua_tonumber(L, -1);

    if (lua_type(L, -1) != LUA_TNUMBER || !(seconds > 0 && seconds < 1e12))
        wrong_option(L, name, "number of seconds expected");
    return (uint64_t)ceil(seconds * 1000);
}

static void set_row(lua_State *L, const option_row *row, mssh_session_options *options)
{
    void *place = (char *)options + row->offset;

    switch (row->kind) {
    case FLAG:
        if (!lua_isboolean(L, -1))
            wrong_option(L, row->name, "boolean expected");
        *(bool *)place = lua_toboolean(L, -1);
        break;
    case SIZE:
        *(size_t *)place = (size_t)whole_number(L, row->name, SIZE_MAX / 2);
        break;
    case BITS64:
        *(uint64_t *)place = whole_number(L, row->name, INT64_MAX);
        break;
    case BITS32:
        *(uint32_t *)place = (uint32_t)whole_number(L, row->name, UINT32_MAX);
        break;
    case MILLISECONDS:
        *(uint64_t *)place = milliseconds(L, row->name);
        break;
    }
}

static mssh_slice text_option(lua_State *L, const char *name)
{
    size_t len = 0;
    const char *text;

    if (lua_type(L, -1) != LUA_TSTRING)
        wrong_option(L, name, "string expected");
    text = lua_tolstring(L, -1, &len);
    return mssh_slice_of(text, len);
}

/* What RFC 4253 4.2 allows in the identification: printable, without space or minus. */
static const char *software_option(lua_State *L, const char *name)
{
    mssh_slice text = text_option(L, name);

    if (text.len == 0 || text.len > SOFTWARE_MOST)
        wrong_option(L, name, "value out of range");
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f || text.data[i] == '-')
            wrong_option(L, name, "printable characters without space and minus expected");
    }
    return (const char *)text.data;
}

/* The value at the top of the stack is the option of that name. */
static void set_option(lua_State *L, const char *name, mssh_session_options *options)
{
    if (strcmp(name, "software") == 0) {
        options->transport.software = software_option(L, name);
        return;
    }
    for (size_t i = 0; i < MSSH_N_ALG_CLASSES; i++) {
        if (strcmp(name, class_names[i]) == 0) {
            options->transport.algorithms[i] = text_option(L, name);
            return;
        }
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(name, rows[i].name) == 0) {
            set_row(L, &rows[i], options);
            return;
        }
    }
    luaL_error(L, "unknown option '%s'", name);
}

void mssh_lua_session_options(lua_State *L, int arg, mssh_session_options *options)
{
    memset(options, 0, sizeof *options);
    options->transport.role = MSSH_CLIENT;
    options->transport.software = "moonssh";
    if (lua_isnoneornil(L, arg))
        return;
    luaL_checktype(L, arg, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, arg) != 0) {
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, arg, "option names are strings");
        set_option(L, lua_tostring(L, -2), options);
        lua_pop(L, 1);
    }
}

static int core_algorithms(lua_State *L)
{
    lua_createtable(L, 0, MSSH_N_ALG_CLASSES);
    for (size_t cls = 0; cls < MSSH_N_ALG_CLASSES; cls++) {
        bool is_default = false;
        const char *name;
        lua_newtable(L);
        for (size_t i = 0; (name = mssh_algorithm_at((mssh_algorithm_class)cls, i, &is_default)) != NULL;
             i++) {
            lua_createtable(L, 0, 2);
            lua_pushstring(L, name);
            lua_setfield(L, -2, "name");
            lua_pushboolean(L, is_default);
            lua_setfield(L, -2, "default");
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        lua_setfield(L, -2, class_names[cls]);
    }
    return 1;
}

void mssh_lua_open_algorithms(lua_State *L)
{
    lua_pushcfunction(L, core_algorithms);
    lua_setfield(L, -2, "algorithms");
}
