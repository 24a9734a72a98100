/*
 * base: the encodings and small things that need no state; memory and buffers are in buffer.c.
 *
 *   base.write(kind, value, …) -> bytes, or nil and the error's code: the kinds of RFC 4251 5 are
 *      u8 bool u32 u64 string mpint (from a magnitude) bytes
 *   base.read(bytes, kind or a count of bytes, …) -> list of values, ok, done, left
 *      the kinds as above, and rest; every field is read, also after a failure
 *   base.names(list) -> list of names                  base.has_name(list, name) -> boolean
 *   base.names_valid(list) -> boolean                  base.choose_name(preferred, offered) -> name or nil
 *   base.escape(bytes, size) -> text                   base.error_name(code) -> text
 *   base.first_failure({code, reason, text}, …) -> code, reason, text: what stays recorded
 */
#include "base/error.h"
#include "testing/testing.h"
#include "testing/util.h"
#include "wire/namelist.h"
#include "wire/reader.h"
#include "wire/writer.h"

enum { U8, BOOL, U32, U64, STRING, MPINT, BYTES, REST };

static const char *const kinds[] = {"u8", "bool", "u32", "u64", "string", "mpint", "bytes", "rest", NULL};

static void write_field(lua_State *L, int kind, int index, mssh_buf *buf)
{
    switch (kind) {
    case U8:
        mssh_write_u8(buf, (uint8_t)luaL_checkinteger(L, index));
        break;
    case BOOL:
        mssh_write_bool(buf, lua_toboolean(L, index));
        break;
    case U32:
        mssh_write_u32(buf, (uint32_t)luaL_checkinteger(L, index));
        break;
    case U64:
        mssh_write_u64(buf, (uint64_t)luaL_checkinteger(L, index));
        break;
    case STRING:
        mssh_write_string(buf, mssh_testing_slice(L, index));
        break;
    case MPINT:
        mssh_write_mpint(buf, mssh_testing_slice(L, index));
        break;
    default:
        mssh_write_bytes(buf, mssh_testing_slice(L, index));
    }
}

static int write_fields(lua_State *L)
{
    int top = lua_gettop(L);
    mssh_mem mem;
    mssh_buf buf;

    /* Arguments first: an error must not leave the buffer behind. */
    for (int i = 1; i <= top; i += 2) {
        int kind = luaL_checkoption(L, i, NULL, kinds);
        if (kind <= U64 && kind != BOOL)
            (void)luaL_checkinteger(L, i + 1);
        else if (kind != BOOL)
            (void)mssh_testing_slice(L, i + 1);
    }
    mssh_mem_init(&mem, NULL, NULL);
    mssh_buf_init(&buf, &mem, SIZE_MAX / 4);
    for (int i = 1; i <= top; i += 2)
        write_field(L, luaL_checkoption(L, i, NULL, kinds), i + 1, &buf);
    return mssh_testing_push_buf(L, buf.error, &buf);
}

static void push_slice(lua_State *L, mssh_slice bytes)
{
    lua_pushlstring(L, bytes.len > 0 ? (const char *)bytes.data : "", bytes.len);
}

static void push_field(lua_State *L, int kind, mssh_reader *reader)
{
    switch (kind) {
    case U8:
        lua_pushinteger(L, mssh_read_u8(reader));
        break;
    case BOOL:
        lua_pushboolean(L, mssh_read_bool(reader));
        break;
    case U32:
        lua_pushinteger(L, mssh_read_u32(reader));
        break;
    case U64:
        lua_pushinteger(L, (lua_Integer)mssh_read_u64(reader));
        break;
    case STRING:
        push_slice(L, mssh_read_string(reader));
        break;
    case MPINT:
        push_slice(L, mssh_read_mpint(reader));
        break;
    default:
        push_slice(L, mssh_read_rest(reader));
    }
}

static int read_fields(lua_State *L)
{
    mssh_reader reader = mssh_reader_of(mssh_testing_slice(L, 1));
    int top = lua_gettop(L);

    lua_newtable(L);
    for (int i = 2; i <= top; i++) {
        if (lua_isinteger(L, i))
            push_slice(L, mssh_read_bytes(&reader, (size_t)lua_tointeger(L, i)));
        else
            push_field(L, luaL_checkoption(L, i, NULL, kinds), &reader);
        lua_rawseti(L, -2, i - 1);
    }
    lua_pushboolean(L, mssh_reader_ok(&reader));
    lua_pushboolean(L, mssh_reader_done(&reader));
    lua_pushinteger(L, (lua_Integer)mssh_reader_left(&reader));
    return 4;
}

static int names(lua_State *L)
{
    mssh_slice list = mssh_testing_slice(L, 1);
    mssh_slice name;

    lua_newtable(L);
    for (lua_Integer i = 1; mssh_namelist_next(&list, &name); i++) {
        push_slice(L, name);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static int has_name(lua_State *L)
{
    lua_pushboolean(L, mssh_namelist_has(mssh_testing_slice(L, 1), mssh_testing_slice(L, 2)));
    return 1;
}

static int names_valid(lua_State *L)
{
    lua_pushboolean(L, mssh_namelist_valid(mssh_testing_slice(L, 1)));
    return 1;
}

static int choose_name(lua_State *L)
{
    mssh_slice chosen;

    if (!mssh_namelist_choose(mssh_testing_slice(L, 1), mssh_testing_slice(L, 2), &chosen))
        return 0;
    push_slice(L, chosen);
    return 1;
}

static int escape(lua_State *L)
{
    mssh_slice bytes = mssh_testing_slice(L, 1);
    size_t size = (size_t)luaL_optinteger(L, 2, 512);
    char *out = lua_newuserdatauv(L, size + 1, 0);

    /* The byte behind the room stays as it is. */
    memset(out, '#', size + 1);
    mssh_escape(out, size, bytes.data, bytes.len);
    luaL_argcheck(L, out[size] == '#', 2, "written past the end");
    lua_pushlstring(L, out, size == 0 ? 0 : strlen(out));
    return 1;
}

static int error_name(lua_State *L)
{
    lua_pushstring(L, mssh_err_name((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int first_failure(lua_State *L)
{
    mssh_failure failure = {.code = 0};
    int top = lua_gettop(L);

    for (int i = 1; i <= top; i++) {
        lua_rawgeti(L, i, 1);
        lua_rawgeti(L, i, 2);
        lua_rawgeti(L, i, 3);
        (void)mssh_fail(&failure, (int)luaL_checkinteger(L, -3), (uint32_t)luaL_checkinteger(L, -2), "%s",
                        luaL_checkstring(L, -1));
    }
    lua_pushinteger(L, failure.code);
    lua_pushinteger(L, failure.reason);
    lua_pushstring(L, failure.message);
    return 3;
}

static const luaL_Reg functions[] = {
    {"write", write_fields},
    {"read", read_fields},
    {"names", names},
    {"has_name", has_name},
    {"names_valid", names_valid},
    {"choose_name", choose_name},
    {"escape", escape},
    {"error_name", error_name},
    {"first_failure", first_failure},
    {NULL, NULL},
};

int mssh_testing_open_base(lua_State *L)
{
    luaL_newlib(L, functions);
    mssh_testing_add_buffer(L);
    mssh_testing_add_huge(L);
    return 1;
}
