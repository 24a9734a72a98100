/*
 * session:next(), where events become Lua values.
 *
 * Making a string or a table may fail for want of memory, and then leaves by longjmp. So an event is taken
 * from the session once, kept in the object, and forgotten only when all its values are on the stack; what it
 * changes (keeping data, counting them) comes after that. A call that failed can simply be made again: it
 * gives the same event. A finalizer that closes the session meanwhile, or takes events itself, ends the views
 * of the event: then the call raises.
 */
#include "binding/sftp.h"

#include <string.h>

/* Data below this size are kept, to be taken together: a string for each would cost more than the copy. */
enum { DIRECT_LEAST = 1024 };

/* Heap, in KiB, up to which bulk data weigh half. */
enum { LIGHT_HEAP_KIB = 64 * 1024 };

/* Most values of one event, and what making them needs on top. */
enum { STACK_NEED = 12 };

static const char *const names[] = {
#define EVENT_NAME(id, name) name,
    MSSH_EVENTS(EVENT_NAME)
#undef EVENT_NAME
};

/* An event on its way to Lua. */
typedef struct giving {
    mssh_lua_session *self;
    uint64_t number;  /* of the event, in self->n_events */
    mssh_event event; /* a copy: the session's may be replaced */
} giving;

static bool is_current(const giving *given)
{
    const mssh_lua_session *self = given->self;

    return !self->object.closed && self->pending && self->n_events == given->number;
}

static void push_view(lua_State *L, const giving *given, mssh_slice slice)
{
    if (!is_current(given))
        luaL_error(L, "a finalizer took the session's events, or closed it");
    mssh_lua_push_slice(L, slice);
}

static void push_channel(lua_State *L, mssh_channel channel)
{
    lua_pushinteger(L, (lua_Integer)channel);
}

static void push_transport(lua_State *L, const giving *given)
{
    const mssh_transport_event *from = &given->event.transport;

    switch (given->event.type) {
    case MSSH_EVENT_DEBUG:
        lua_pushboolean(L, from->always_display);
        break;
    case MSSH_EVENT_DISCONNECT:
        lua_pushinteger(L, from->reason);
        break;
    case MSSH_EVENT_UNIMPLEMENTED:
        lua_pushinteger(L, from->sequence);
        return;
    case MSSH_EVENT_KEX_DONE:
        return;
    default:
        break;
    }
    push_view(L, given, from->data);
    if (given->event.type == MSSH_EVENT_DEBUG || given->event.type == MSSH_EVENT_DISCONNECT)
        push_view(L, given, from->language);
}

static void push_prompts(lua_State *L, const giving *given)
{
    mssh_auth_event rest = given->event.auth; /* taking prompts off changes it */
    mssh_slice text;
    bool echo;

    lua_newtable(L);
    for (lua_Integer i = 1; is_current(given) && mssh_auth_prompt(&rest, &text, &echo); i++) {
        lua_createtable(L, 0, 2);
        push_view(L, given, text);
        lua_setfield(L, -2, "text");
        lua_pushboolean(L, echo);
        lua_setfield(L, -2, "echo");
        lua_rawseti(L, -2, i);
    }
}

static void push_auth(lua_State *L, const giving *given)
{
    const mssh_auth_event *from = &given->event.auth;

    switch (given->event.type) {
    case MSSH_EVENT_BANNER:
    case MSSH_EVENT_AUTH_PASSWORD_CHANGE:
        push_view(L, given, from->text);
        push_view(L, given, from->language);
        break;
    case MSSH_EVENT_AUTH_FAILURE:
        push_view(L, given, from->text);
        lua_pushboolean(L, from->partial);
        break;
    case MSSH_EVENT_AUTH_PROMPTS:
        push_view(L, given, from->name);
        push_view(L, given, from->instruction);
        push_prompts(L, given);
        break;
    default:
        break;
    }
}

static void push_connection(lua_State *L, const giving *given)
{
    const mssh_connection_event *from = &given->event.connection;

    switch (given->event.type) {
    case MSSH_EVENT_ASKED:
        push_view(L, given, from->name);
        push_view(L, given, from->data);
        lua_pushinteger(L, from->reason);
        push_view(L, given, from->language);
        lua_pushinteger(L, from->origin_port);
        break;
    case MSSH_EVENT_OPEN_FAILED:
        lua_pushinteger(L, from->reason);
        push_view(L, given, from->data);
        push_view(L, given, from->language);
        break;
    case MSSH_EVENT_REPLY:
        lua_pushboolean(L, from->success);
        break;
    case MSSH_EVENT_EXIT_STATUS:
        lua_pushinteger(L, from->reason);
        break;
    case MSSH_EVENT_EXIT_SIGNAL:
        push_view(L, given, from->name);
        lua_pushboolean(L, from->success);
        push_view(L, given, from->data);
        push_view(L, given, from->language);
        break;
    case MSSH_EVENT_REQUEST:
        push_view(L, given, from->name);
        push_view(L, given, from->data);
        break;
    default:
        break;
    }
}

static void push_global(lua_State *L, const giving *given)
{
    const mssh_connection_event *from = &given->event.connection;

    if (given->event.type == MSSH_EVENT_GLOBAL_REPLY)
        lua_pushboolean(L, from->success);
    else
        push_view(L, given, from->name);
    push_view(L, given, from->data);
}

/* What is done with the data of an event. */
typedef enum fate { TO_LUA, TO_KEEP, TO_NOBODY } fate;

/* Decides that, and on which stream the data count as having come. */
static fate data_fate(mssh_lua_session *self, const mssh_lua_channel *row, mssh_stream *stream)
{
    const mssh_connection_event *from = &self->event.connection;
    mssh_connection *connection = mssh_session_connection(self->session);

    *stream = from->stream;
    if (row == NULL)
        return TO_KEEP;
    if (row->mode[*stream] == MSSH_LUA_MERGE)
        *stream = MSSH_STDOUT;
    if (row->mode[*stream] == MSSH_LUA_DISCARD)
        return TO_NOBODY;
    if (row->mode[*stream] != MSSH_LUA_DIRECT || from->data.len < DIRECT_LEAST)
        return TO_KEEP;
    /* Order: nothing may overtake what is kept. */
    if (from->data.len > row->budget[*stream] || row->outstanding > row->budget[*stream] - from->data.len ||
        mssh_channel_kept(connection, from->channel, *stream).len > 0)
        return TO_KEEP;
    return TO_LUA;
}

/* Ends the session for want of memory: data that were acknowledged must not be lost silently. */
static void keep_or_fail(mssh_lua_session *self, mssh_stream stream)
{
    const mssh_connection_event *from = &self->event.connection;
    mssh_connection *connection = mssh_session_connection(self->session);
    mssh_failure failure = {0};
    int status = mssh_channel_keep(connection, from->channel, stream, from->data);

    if (status != 0 && status != MSSH_ERR_NO_CHANNEL) {
        (void)mssh_fail(&failure, status, 11, "the data received could not be kept: %s",
                        mssh_err_name(status));
        mssh_session_fail(self->session, &failure);
    }
}

/*
 * Has data that are about to become a string weigh half with the collector. It is paced by what is allocated,
 * and would mark the whole program once for every heapful of strings that are forgotten as soon as they are
 * seen: in a small program that costs a third of what decrypting them does.
 */
static void lighten(lua_State *L, size_t len)
{
    if (lua_gc(L, LUA_GCISRUNNING) == 1 && lua_gc(L, LUA_GCCOUNT) < LIGHT_HEAP_KIB)
        (void)lua_gc(L, LUA_GCSTEP, -(int)(len / 2048));
}

/* The values of a data event, then its effect. Returns false when there is nothing to tell. */
static bool push_data(lua_State *L, const giving *given)
{
    mssh_lua_session *self = given->self;
    const mssh_connection_event *from = &given->event.connection;
    mssh_lua_channel *row = mssh_lua_channel_find(self, from->channel);
    mssh_stream stream;
    fate what = data_fate(self, row, &stream);

    if (what == TO_NOBODY) {
        mssh_channel_consumed(mssh_session_connection(self->session), from->channel, from->data.len);
        return false;
    }
    lua_pushstring(L, names[MSSH_EVENT_DATA]);
    push_channel(L, from->channel);
    lua_pushinteger(L, stream);
    if (what == TO_LUA) {
        lighten(L, from->data.len);
        push_view(L, given, from->data);
    } else {
        lua_pushnil(L);
    }
    if (!is_current(given))
        return true;
    row = mssh_lua_channel_find(self, from->channel); /* again: a finalizer may have dropped or moved it */
    if (what == TO_KEEP)
        keep_or_fail(self, stream);
    else if (row != NULL)
        row->outstanding += from->data.len;
    return true;
}

static void push_event(lua_State *L, const giving *given)
{
    const mssh_event *event = &given->event;

    lua_pushstring(L, names[event->type]);
    if (event->type < MSSH_EVENT_BANNER) {
        push_transport(L, given);
    } else if (event->type < MSSH_EVENT_OPENED) {
        push_auth(L, given);
    } else if (event->type < MSSH_EVENT_GLOBAL_REPLY) {
        push_channel(L, event->connection.channel);
        push_connection(L, given);
    } else if (event->type < MSSH_EVENT_FAILED) {
        push_global(L, given);
    }
}

/* Whether nobody asked for this event: a flood of them must not cost a string each. */
static bool is_unwanted(const mssh_lua_session *self)
{
    return (self->event.type == MSSH_EVENT_IGNORE && self->no_ignore) ||
           (self->event.type == MSSH_EVENT_DEBUG && self->no_debug) ||
           (self->event.type == MSSH_EVENT_GLOBAL_REQUEST && self->no_requests);
}

/* Whether the event is of a channel that speaks SFTP. */
static bool is_of_sftp(mssh_lua_session *self)
{
    const mssh_lua_channel *row =
        self->n_machines > 0 ? mssh_lua_channel_find(self, self->event.connection.channel) : NULL;

    return row != NULL && row->sftp != NULL;
}

/* Whether the event was for the machine of an SFTP channel, and is nothing to Lua. */
static bool was_for_sftp(mssh_lua_session *self)
{
    const mssh_connection_event *from = &self->event.connection;

    if (self->event.type == MSSH_EVENT_WINDOW)
        return is_of_sftp(self);
    return self->event.type == MSSH_EVENT_DATA && from->stream == MSSH_STDOUT && is_of_sftp(self) &&
           mssh_lua_sftp_feed(self);
}

bool mssh_lua_session_take_event(mssh_lua_session *self)
{
    do {
        if (!self->pending) {
            mssh_session_next(self->session, &self->event);
            self->n_events++;
        }
        self->pending = self->event.type != MSSH_EVENT_NONE &&
                        (self->event.type != MSSH_EVENT_FAILED || !self->failed_told);
        if (!self->pending)
            return false;
        self->pending = !is_unwanted(self) && !was_for_sftp(self);
    } while (!self->pending);
    return true;
}

bool mssh_lua_session_hold(mssh_lua_session *self, mssh_channel channel)
{
    const mssh_connection_event *from = &self->event.connection;

    switch (self->event.type) {
    case MSSH_EVENT_OPENED:
    case MSSH_EVENT_WINDOW:
    case MSSH_EVENT_CHANNEL_EOF:
    case MSSH_EVENT_EXIT_STATUS:
        break;
    case MSSH_EVENT_REPLY:
        if (from->success)
            break;
        return false;
    default:
        return false;
    }
    if (from->channel != channel || self->n_notices == MSSH_LUA_NOTICES)
        return false;
    self->notices[self->n_notices++] =
        (mssh_lua_notice){from->channel, self->event.type, from->reason, from->success};
    self->pending = false;
    return true;
}

/* Gives the first of the events that were held back. */
static int next_notice(lua_State *L, mssh_lua_session *self)
{
    const mssh_lua_notice *first = &self->notices[0];
    const giving given = {
        .self = self,
        .event = {
            .type = first->type,
            .connection = {.channel = first->channel, .reason = first->reason, .success = first->success}}};

    push_event(L, &given);
    if (self->n_notices > 0) /* a finalizer may have closed the session */
        memmove(self->notices, self->notices + 1, --self->n_notices * sizeof self->notices[0]);
    return lua_gettop(L) - 1;
}

/* The event was given: what that changes. */
static void event_given(const giving *given)
{
    mssh_lua_session *self = given->self;

    if (!is_current(given))
        return;
    self->pending = false;
    if (given->event.type == MSSH_EVENT_OPEN_FAILED)
        mssh_lua_channel_forget(self, given->event.connection.channel);
    else if (given->event.type == MSSH_EVENT_FAILED)
        self->failed_told = true;
}

int mssh_lua_session_next(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    int n_news;

    lua_settop(L, 1);
    luaL_checkstack(L, STACK_NEED, NULL);
    if (self->n_notices > 0)
        return next_notice(L, self);
    while (mssh_lua_session_take_event(self)) {
        giving given = {self, self->n_events, self->event};
        bool told = true;
        if (given.event.type == MSSH_EVENT_DATA && given.event.connection.stream == MSSH_STDOUT &&
            is_of_sftp(self))
            return mssh_lua_sftp_give(L, self);
        if (given.event.type == MSSH_EVENT_DATA)
            told = push_data(L, &given);
        else
            push_event(L, &given);
        event_given(&given);
        if (told)
            return lua_gettop(L) - 1;
    }
    (void)mssh_lua_sftp_fill(self);
    n_news = mssh_lua_sftp_news(L, self);
    if (n_news > 0)
        return n_news;
    lua_pushnil(L);
    return 1;
}
