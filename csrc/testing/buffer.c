/*
 * base.buffer and base.memory: byte queues and blocks over an allocator that looks at what it gets back.
 *
 *   base.buffer(max) -> object with
 *      append(bytes) consume(n) truncate(n) clear() free()    reserve(n) -> whether there is room
 *      fill(bytes): writes into the room that reserve gave, and commits it
 *      content() -> bytes    capacity() -> bytes allocated    storage() -> the whole block    error() -> name
 * of the sticky error, or nil base.memory() -> object with one block alloc(size) -> whether; resize(size,
 * keep) -> whether; free(); put(bytes); get() -> bytes both have fail(n): the n-th allocation from now fails
 * leaked() -> bytes that came back unwiped in_use() peak() -> bytes
 */
#include "base/buf.h"
#include "base/error.h"
#include "testing/util.h"

#include <stdlib.h>

#define BUFFER "moonssh_testing.buffer"
#define MEMORY "moonssh_testing.memory"

/* The first field of both objects, so that they share their methods. */
typedef struct watched {
    mssh_mem mem;
    lua_Integer fail_in; /* 1: the next allocation fails; 0: none */
    size_t leaked;       /* bytes other than zero in blocks that were freed */
} watched;

typedef struct buffer_box {
    watched memory;
    mssh_buf buf;
} buffer_box;

typedef struct memory_box {
    watched memory;
    uint8_t *block;
    size_t size;
} memory_box;

static void *allocate(void *ud, void *ptr, size_t osize, size_t nsize)
{
    watched *self = ud;

    if (nsize == 0) {
        for (size_t i = 0; i < osize; i++)
            self->leaked += ((uint8_t *)ptr)[i] != 0;
        free(ptr);
        return NULL;
    }
    if (self->fail_in > 0 && --self->fail_in == 0)
        return NULL;
    return calloc(1, nsize);
}

static watched *check_watched(lua_State *L)
{
    watched *self = luaL_testudata(L, 1, BUFFER);
    return self != NULL ? self : luaL_checkudata(L, 1, MEMORY);
}

static int fail(lua_State *L)
{
    check_watched(L)->fail_in = luaL_checkinteger(L, 2);
    return 0;
}

static int leaked(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_watched(L)->leaked);
    return 1;
}

static int in_use(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_watched(L)->mem.in_use);
    return 1;
}

static int peak(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_watched(L)->mem.peak);
    return 1;
}

static mssh_buf *check_buffer(lua_State *L)
{
    buffer_box *box = luaL_checkudata(L, 1, BUFFER);
    return &box->buf;
}

static int new_buffer(lua_State *L)
{
    size_t max = (size_t)luaL_checkinteger(L, 1);
    buffer_box *box = lua_newuserdatauv(L, sizeof *box, 0);

    memset(box, 0, sizeof *box);
    mssh_mem_init(&box->memory.mem, allocate, &box->memory);
    mssh_buf_init(&box->buf, &box->memory.mem, max);
    luaL_setmetatable(L, BUFFER);
    return 1;
}

static int buffer_append(lua_State *L)
{
    mssh_buf *buf = check_buffer(L);
    mssh_slice bytes = mssh_testing_slice(L, 2);
    int rc = mssh_buf_append(buf, bytes.data, bytes.len);

    if (rc != 0)
        return mssh_testing_push_error(L, rc, NULL);
    lua_pushboolean(L, 1);
    return 1;
}

static int buffer_reserve(lua_State *L)
{
    lua_pushboolean(L, mssh_buf_reserve(check_buffer(L), (size_t)luaL_checkinteger(L, 2)) != NULL);
    return 1;
}

static int buffer_fill(lua_State *L)
{
    mssh_buf *buf = check_buffer(L);
    mssh_slice bytes = mssh_testing_slice(L, 2);
    uint8_t *room = mssh_buf_reserve(buf, bytes.len);

    luaL_argcheck(L, room != NULL, 2, "no room");
    memcpy(room, bytes.data, bytes.len);
    mssh_buf_commit(buf, bytes.len);
    return 0;
}

static int buffer_consume(lua_State *L)
{
    mssh_buf_consume(check_buffer(L), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static int buffer_truncate(lua_State *L)
{
    mssh_buf_truncate(check_buffer(L), (size_t)luaL_checkinteger(L, 2));
    return 0;
}

static int buffer_clear(lua_State *L)
{
    mssh_buf_clear(check_buffer(L));
    return 0;
}

static int buffer_free(lua_State *L)
{
    mssh_buf_free(check_buffer(L));
    return 0;
}

static int buffer_content(lua_State *L)
{
    mssh_slice bytes = mssh_buf_slice(check_buffer(L));
    lua_pushlstring(L, bytes.len > 0 ? (const char *)bytes.data : "", bytes.len);
    return 1;
}

static int buffer_capacity(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_buffer(L)->cap);
    return 1;
}

/* The whole block, also what is not in the queue any more. */
static int buffer_storage(lua_State *L)
{
    mssh_buf *buf = check_buffer(L);
    lua_pushlstring(L, buf->data != NULL ? (const char *)buf->data : "", buf->cap);
    return 1;
}

static int buffer_error(lua_State *L)
{
    int error = check_buffer(L)->error;

    if (error == 0)
        return 0;
    lua_pushstring(L, mssh_err_name(error));
    return 1;
}

static memory_box *check_memory(lua_State *L)
{
    return luaL_checkudata(L, 1, MEMORY);
}

static int new_memory(lua_State *L)
{
    memory_box *box = lua_newuserdatauv(L, sizeof *box, 0);

    memset(box, 0, sizeof *box);
    mssh_mem_init(&box->memory.mem, allocate, &box->memory);
    luaL_setmetatable(L, MEMORY);
    return 1;
}

static int memory_alloc(lua_State *L)
{
    memory_box *box = check_memory(L);
    size_t size = (size_t)luaL_checkinteger(L, 2);
    uint8_t *block = mssh_alloc(&box->memory.mem, size);

    luaL_argcheck(L, box->block == NULL, 1, "has a block");
    if (block != NULL) {
        box->block = block;
        box->size = size;
    }
    lua_pushboolean(L, block != NULL);
    return 1;
}

static int memory_resize(lua_State *L)
{
    memory_box *box = check_memory(L);
    size_t size = (size_t)luaL_checkinteger(L, 2);
    uint8_t *block =
        mssh_resize(&box->memory.mem, box->block, box->size, size, (size_t)luaL_checkinteger(L, 3));

    if (block != NULL) {
        box->block = block;
        box->size = size;
    }
    lua_pushboolean(L, block != NULL);
    return 1;
}

static int memory_free(lua_State *L)
{
    memory_box *box = check_memory(L);

    mssh_free(&box->memory.mem, box->block, box->size);
    box->block = NULL;
    box->size = 0;
    return 0;
}

static int memory_put(lua_State *L)
{
    memory_box *box = check_memory(L);
    mssh_slice bytes = mssh_testing_slice(L, 2);

    luaL_argcheck(L, bytes.len <= box->size, 2, "too long");
    memcpy(box->block, bytes.data, bytes.len);
    return 0;
}

static int memory_get(lua_State *L)
{
    memory_box *box = check_memory(L);
    lua_pushlstring(L, box->size > 0 ? (const char *)box->block : "", box->size);
    return 1;
}

static const luaL_Reg buffer_methods[] = {
    {"append", buffer_append},
    {"reserve", buffer_reserve},
    {"fill", buffer_fill},
    {"consume", buffer_consume},
    {"truncate", buffer_truncate},
    {"clear", buffer_clear},
    {"free", buffer_free},
    {"content", buffer_content},
    {"capacity", buffer_capacity},
    {"storage", buffer_storage},
    {"error", buffer_error},
    {"fail", fail},
    {"leaked", leaked},
    {"in_use", in_use},
    {"peak", peak},
    {NULL, NULL},
};

static const luaL_Reg memory_methods[] = {
    {"alloc", memory_alloc}, {"resize", memory_resize},
    {"free", memory_free},   {"put", memory_put},
    {"get", memory_get},     {"fail", fail},
    {"leaked", leaked},      {"in_use", in_use},
    {"peak", peak},          {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"buffer", new_buffer},
    {"memory", new_memory},
    {NULL, NULL},
};

void mssh_testing_add_buffer(lua_State *L)
{
    mssh_testing_new_class(L, BUFFER, buffer_methods, buffer_free);
    mssh_testing_new_class(L, MEMORY, memory_methods, memory_free);
    luaL_setfuncs(L, functions, 0);
}
