#include "testing/outbox.h"

#include "testing/util.h"

#include <lauxlib.h>
#include <stdlib.h>

static int add(mssh_testing_outbox *box, mssh_slice head, mssh_slice body, bool concealed)
{
    mssh_testing_record record = {concealed, head.len + body.len, NULL};

    if (box->error != 0)
        return box->error;
    if (box->n_records == box->cap) {
        size_t cap = box->cap == 0 ? 16 : box->cap * 2;
        mssh_testing_record *grown = realloc(box->records, cap * sizeof *grown);
        if (grown == NULL)
            return MSSH_ERR_MEMORY;
        box->records = grown;
        box->cap = cap;
    }
    record.bytes = malloc(record.len > 0 ? record.len : 1);
    if (record.bytes == NULL)
        return MSSH_ERR_MEMORY;
    if (head.len > 0)
        memcpy(record.bytes, head.data, head.len);
    if (body.len > 0)
        memcpy(record.bytes + head.len, body.data, body.len);
    box->records[box->n_records++] = record;
    if (box->room != SIZE_MAX)
        box->room -= record.len < box->room ? record.len : box->room;
    return 0;
}

static int box_send(void *self, mssh_slice head, mssh_slice body)
{
    return add(self, head, body, false);
}

static int box_send_concealed(void *self, mssh_slice payload)
{
    return add(self, payload, MSSH_SLICE_EMPTY, true);
}

static size_t box_room(void *self)
{
    const mssh_testing_outbox *box = self;
    return box->room;
}

void mssh_testing_outbox_init(mssh_testing_outbox *box)
{
    *box = (mssh_testing_outbox){.outbox = {box, box_send, box_send_concealed, box_room}, .room = SIZE_MAX};
}

void mssh_testing_outbox_clear(mssh_testing_outbox *box)
{
    for (size_t i = 0; i < box->n_records; i++)
        free(box->records[i].bytes);
    free(box->records);
    box->records = NULL;
    box->n_records = box->cap = 0;
}

int mssh_testing_outbox_take(lua_State *L, mssh_testing_outbox *box)
{
    lua_newtable(L);
    lua_newtable(L);
    for (size_t i = 0; i < box->n_records; i++) {
        const mssh_testing_record *record = &box->records[i];
        lua_pushlstring(L, (const char *)record->bytes, record->len);
        lua_rawseti(L, -3, (lua_Integer)i + 1);
        lua_pushboolean(L, record->concealed);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    mssh_testing_outbox_clear(box);
    return 2;
}

int mssh_testing_outbox_limit(lua_State *L, mssh_testing_outbox *box)
{
    box->room = lua_isnoneornil(L, 2) ? SIZE_MAX : (size_t)luaL_checkinteger(L, 2);
    box->error = (int)luaL_optinteger(L, 3, 0);
    return 0;
}

int mssh_testing_push_result(lua_State *L, int err)
{
    if (err == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, mssh_err_name(err));
    return 2;
}

int mssh_testing_push_failure(lua_State *L, const mssh_failure *failure)
{
    if (failure->code == 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushstring(L, mssh_err_name(failure->code));
    lua_pushstring(L, failure->message);
    lua_pushinteger(L, failure->reason);
    return 3;
}

mssh_slice mssh_testing_copy_slice(lua_State *L, int index)
{
    mssh_slice given = mssh_testing_opt_slice(L, index);
    void *copy = malloc(given.len > 0 ? given.len : 1);

    if (copy == NULL)
        luaL_error(L, "out of memory");
    if (given.len > 0 && copy != NULL)
        memcpy(copy, given.data, given.len);
    return mssh_slice_of(copy, given.len);
}

void mssh_testing_set_slice(lua_State *L, const char *name, mssh_slice value)
{
    lua_pushlstring(L, (const char *)value.data, value.len);
    lua_setfield(L, -2, name);
}

void mssh_testing_set_integer(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

void mssh_testing_set_boolean(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

/* The prompts as a list of {text=, echo=}. */
static void set_prompts(lua_State *L, mssh_auth_event *event)
{
    mssh_slice text;
    bool echo;

    lua_newtable(L);
    for (lua_Integer i = 1; mssh_auth_prompt(event, &text, &echo); i++) {
        lua_newtable(L);
        mssh_testing_set_slice(L, "text", text);
        mssh_testing_set_boolean(L, "echo", echo);
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, -2, "prompts");
}

void mssh_testing_set_auth_event(lua_State *L, mssh_auth_event event)
{
    mssh_testing_set_slice(L, "text", event.text);
    mssh_testing_set_slice(L, "language", event.language);
    mssh_testing_set_boolean(L, "partial", event.partial);
    if (event.type == MSSH_AUTH_PROMPTS) {
        mssh_testing_set_slice(L, "name", event.name);
        mssh_testing_set_slice(L, "instruction", event.instruction);
        mssh_testing_set_integer(L, "n_prompts", event.n_prompts);
        set_prompts(L, &event);
    }
}

void mssh_testing_set_connection_event(lua_State *L, const mssh_connection_event *event)
{
    mssh_testing_set_integer(L, "channel", (lua_Integer)event->channel);
    mssh_testing_set_integer(L, "stream", event->stream);
    mssh_testing_set_slice(L, "name", event->name);
    mssh_testing_set_slice(L, "data", event->data);
    mssh_testing_set_slice(L, "language", event->language);
    mssh_testing_set_integer(L, "reason", event->reason);
    mssh_testing_set_integer(L, "origin_port", event->origin_port);
    mssh_testing_set_boolean(L, "success", event->success);
}
