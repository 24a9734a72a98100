/* SFTP: the machine of a channel, its events as Lua values, and transfers as objects. */
#include "binding/sftp.h"

#include "binding/local.h"

#include <time.h>

enum {
    STACK_NEED = 12,
    /* Bytes queued at a time: they should still be in the cache when they are sealed and sent. */
    FILL_MOST = 512 * 1024,
};

struct mssh_lua_sftp {
    mssh_sftp *sftp;
    mssh_sftp_event event; /* taken, and not given to Lua yet, while `pending` */
    bool pending;
    lua_Integer key; /* of the transfer that the event is about: it may be gone when it is told */
};

/* The object behind a transfer. Its file is its user value: it cannot go before it. */
typedef struct mssh_lua_transfer {
    mssh_lua_object object;
    mssh_mem mem;
    mssh_transfer *transfer;
    const mssh_lua_local *local;
    lua_Integer key;
} mssh_lua_transfer;

static uint64_t now_us(void)
{
    struct timespec time = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

void mssh_lua_sftp_free(mssh_lua_session *self, mssh_lua_sftp *machine)
{
    if (machine == NULL)
        return;
    mssh_sftp_free(machine->sftp);
    mssh_free(&self->mem, machine, sizeof *machine);
}

static mssh_lua_sftp *machine_of(mssh_lua_session *self, mssh_channel channel)
{
    const mssh_lua_channel *row = mssh_lua_channel_find(self, channel);

    return row != NULL ? row->sftp : NULL;
}

/* --- events ----------------------------------------------------------------------------------------------
 */

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static void push_attributes(lua_State *L, const mssh_sftp_attributes *from)
{
    lua_createtable(L, 0, 7);
    /* A size that no integer counts is that of no file: it must not become a negative one. */
    if ((from->flags & MSSH_SFTP_HAS_SIZE) != 0)
        set_integer(L, "size", from->size < LUA_MAXINTEGER ? (lua_Integer)from->size : LUA_MAXINTEGER);
    if ((from->flags & MSSH_SFTP_HAS_OWNER) != 0) {
        set_integer(L, "uid", (lua_Integer)from->uid);
        set_integer(L, "gid", (lua_Integer)from->gid);
    }
    if ((from->flags & MSSH_SFTP_HAS_PERMISSIONS) != 0)
        set_integer(L, "permissions", (lua_Integer)(from->permissions & 07777));
    if ((from->flags & MSSH_SFTP_HAS_TIMES) != 0) {
        set_integer(L, "atime", (lua_Integer)from->atime);
        set_integer(L, "mtime", (lua_Integer)from->mtime);
    }
    lua_pushstring(L, mssh_sftp_type_name(from));
    lua_setfield(L, -2, "type");
}

static void push_names(lua_State *L, mssh_slice body)
{
    mssh_sftp_name name;
    lua_Integer n = 0;

    lua_newtable(L);
    for (mssh_sftp_names rest = mssh_sftp_names_of(body); mssh_sftp_names_next(&rest, &name);) {
        mssh_lua_push_slice(L, name.name);
        lua_rawseti(L, -2, ++n);
        push_attributes(L, &name.attributes);
        lua_rawseti(L, -2, ++n);
    }
}

static void push_extensions(lua_State *L, mssh_slice body)
{
    mssh_slice name, data;

    lua_newtable(L);
    while (mssh_sftp_extension(&body, &name, &data)) {
        mssh_lua_push_slice(L, name);
        mssh_lua_push_slice(L, data);
        lua_rawset(L, -3);
    }
}

/* The string on top of the stack, as long as it stays there. */
static mssh_slice anchored(lua_State *L)
{
    size_t len = 0;
    const char *bytes = lua_tolstring(L, -1, &len);

    return mssh_slice_of(bytes, len);
}

/* What a reply says, as two values. Its body is copied before anything else: a finalizer may end the view. */
static void push_reply(lua_State *L, const mssh_sftp_event *event)
{
    uint8_t type = event->reply;
    mssh_slice body;
    mssh_sftp_attributes attributes;

    mssh_lua_push_slice(L, event->body);
    body = anchored(L);
    switch (type) {
    case MSSH_SFTP_STATUS:
        lua_pushinteger(L, (lua_Integer)mssh_sftp_status_code(body));
        mssh_lua_push_slice(L, mssh_sftp_status_text(body));
        break;
    case MSSH_SFTP_NAME:
        lua_pushliteral(L, "names");
        push_names(L, body);
        break;
    case MSSH_SFTP_ATTRS:
        lua_pushliteral(L, "attributes");
        mssh_sftp_attributes_of(body, &attributes);
        push_attributes(L, &attributes);
        break;
    case MSSH_SFTP_HANDLE:
    case MSSH_SFTP_DATA:
        lua_pushstring(L, type == MSSH_SFTP_HANDLE ? "handle" : "data");
        mssh_lua_push_slice(L, mssh_slice_of(body.data + 4, body.len - 4));
        break;
    default:
        lua_pushliteral(L, "extended");
        lua_pushvalue(L, -2);
        break;
    }
    lua_remove(L, -3);
}

static int push_event(lua_State *L, mssh_channel channel, const mssh_lua_sftp *machine)
{
    mssh_sftp_event event = machine->event;
    const mssh_failure *failure = mssh_sftp_failure(machine->sftp);
    int base = lua_gettop(L);

    switch (event.type) {
    case MSSH_SFTP_TRANSFER:
        lua_pushliteral(L, "transfer");
        lua_pushinteger(L, machine->key);
        return 2;
    case MSSH_SFTP_REPLY:
        push_reply(L, &event);
        lua_pushinteger(L, (lua_Integer)event.id);
        lua_insert(L, base + 1);
        break;
    case MSSH_SFTP_READY:
        mssh_lua_push_slice(L, event.body);
        push_extensions(L, anchored(L));
        lua_remove(L, -2);
        lua_pushliteral(L, "ready");
        lua_insert(L, base + 1);
        lua_pushinteger(L, (lua_Integer)event.number);
        lua_insert(L, base + 2);
        break;
    default:
        lua_pushstring(L, failure->message);
        lua_pushliteral(L, "failed");
        lua_insert(L, base + 1);
        lua_pushstring(L, mssh_err_name(failure->code));
        lua_insert(L, base + 2);
        break;
    }
    lua_pushliteral(L, "sftp");
    lua_insert(L, base + 1);
    lua_pushinteger(L, (lua_Integer)channel);
    lua_insert(L, base + 2);
    return lua_gettop(L) - base;
}

/* Gives the pending event. A finalizer may have closed the session meanwhile. */
static int give(lua_State *L, mssh_lua_session *self, mssh_channel channel, mssh_lua_sftp *machine)
{
    int n;

    luaL_checkstack(L, STACK_NEED, NULL);
    n = push_event(L, channel, machine);
    if (!self->object.closed && machine_of(self, channel) == machine)
        machine->pending = false;
    return n;
}

/* Keeps an event until it is given. */
static void hold(mssh_lua_sftp *machine)
{
    const mssh_lua_transfer *transfer;

    machine->pending = true;
    if (machine->event.type == MSSH_SFTP_TRANSFER) {
        transfer = mssh_transfer_user(machine->event.transfer);
        machine->key = transfer->key;
    }
}

static void write_block(const mssh_sftp_event *event)
{
    const mssh_lua_transfer *transfer = mssh_transfer_user(event->transfer);
    int status = mssh_lua_local_write(transfer->local, event->offset, event->body);

    if (status != 0)
        mssh_transfer_fail(event->transfer, -status, event->offset);
}

bool mssh_lua_sftp_feed(mssh_lua_session *self)
{
    mssh_slice *bytes = &self->event.connection.data;
    mssh_channel channel = self->event.connection.channel;
    mssh_lua_sftp *machine = machine_of(self, channel);

    if (!machine->pending)
        mssh_sftp_tick(machine->sftp, now_us());
    while (!machine->pending) {
        size_t before = bytes->len;
        mssh_sftp_next(machine->sftp, bytes, &machine->event);
        if (before > bytes->len)
            mssh_channel_consumed(mssh_session_connection(self->session), channel, before - bytes->len);
        if (machine->event.type == MSSH_SFTP_NOTHING)
            return true;
        if (machine->event.type == MSSH_SFTP_BLOCK)
            write_block(&machine->event);
        else
            hold(machine);
    }
    return false;
}

int mssh_lua_sftp_give(lua_State *L, mssh_lua_session *self)
{
    mssh_channel channel = self->event.connection.channel;

    return give(L, self, channel, machine_of(self, channel));
}

bool mssh_lua_sftp_has_news(const mssh_lua_session *self)
{
    for (size_t i = 0; i < self->n_channels; i++) {
        const mssh_lua_sftp *machine = self->channels[i].sftp;
        if (machine != NULL && (machine->pending || mssh_sftp_has_news(machine->sftp)))
            return true;
    }
    return false;
}

int mssh_lua_sftp_news(lua_State *L, mssh_lua_session *self)
{
    for (size_t i = 0; i < self->n_channels; i++) {
        mssh_lua_sftp *machine = self->channels[i].sftp;
        mssh_slice none = MSSH_SLICE_EMPTY;
        if (machine == NULL || (!machine->pending && !mssh_sftp_has_news(machine->sftp)))
            continue;
        if (!machine->pending) {
            mssh_sftp_next(machine->sftp, &none, &machine->event);
            hold(machine);
        }
        return give(L, self, self->channels[i].channel, machine);
    }
    return 0;
}

/* --- moving files ----------------------------------------------------------------------------------------
 */

static void read_block(mssh_sftp *sftp, const mssh_sftp_want *want)
{
    const mssh_lua_transfer *transfer = mssh_transfer_user(want->transfer);
    ssize_t n = mssh_lua_local_read(transfer->local, want->offset, want->place, want->len);

    if (n < 0)
        mssh_transfer_fail(want->transfer, (int)-n, want->offset);
    mssh_sftp_give(sftp, want, n > 0 ? (size_t)n : 0);
}

bool mssh_lua_sftp_fill(mssh_lua_session *self)
{
    mssh_sftp_want want;
    size_t before;

    if (self->n_machines == 0)
        return false;
    before = mssh_session_output(self->session).len;
    for (size_t i = 0; i < self->n_channels; i++) {
        /* Another channel begins each time: what there is room for goes to all. */
        size_t index = (self->turn + i) % self->n_channels;
        mssh_lua_sftp *machine = self->channels[index].sftp;
        if (machine == NULL)
            continue;
        mssh_sftp_tick(machine->sftp, now_us());
        while (mssh_session_output(self->session).len < FILL_MOST && mssh_sftp_pump(machine->sftp, &want))
            read_block(machine->sftp, &want);
    }
    self->turn++;
    return mssh_session_output(self->session).len > before;
}

/* --- methods of a session --------------------------------------------------------------------------------
 */

static mssh_channel check_channel(lua_State *L)
{
    return (mssh_channel)luaL_checkinteger(L, 2);
}

static int push_gone(lua_State *L)
{
    return mssh_lua_push_failure(L, MSSH_ERR_NO_CHANNEL, NULL);
}

static int session_sftp_start(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = check_channel(L);
    mssh_lua_channel *row = mssh_lua_channel_row(self, channel);
    mssh_lua_sftp *machine;

    if (row == NULL)
        return push_gone(L);
    luaL_argcheck(L, row->sftp == NULL, 2, "it was started");
    machine = mssh_alloc(&self->mem, sizeof *machine);
    if (machine == NULL)
        return mssh_lua_push_failure(L, MSSH_ERR_MEMORY, NULL);
    machine->sftp = mssh_sftp_new(&self->mem, mssh_session_connection(self->session), channel);
    if (machine->sftp == NULL) {
        mssh_lua_sftp_free(self, machine);
        return mssh_lua_push_failure(L, MSSH_ERR_MEMORY, NULL);
    }
    row->sftp = machine;
    self->n_machines++;
    return mssh_lua_push_result(L, mssh_sftp_start(machine->sftp), NULL);
}

static int session_sftp_request(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    const mssh_lua_sftp *machine = machine_of(self, check_channel(L));
    uint8_t type = (uint8_t)mssh_lua_check_range(L, 3, 1, UINT8_MAX);
    uint8_t expected = (uint8_t)mssh_lua_check_range(L, 4, 0, UINT8_MAX);
    mssh_slice body = mssh_lua_check_slice(L, 5);
    uint32_t id = 0;
    int status;

    if (machine == NULL)
        return push_gone(L);
    status = mssh_sftp_request_send(machine->sftp, type, expected, body, &id);
    if (status != 0)
        return mssh_lua_push_failure(L, status, mssh_sftp_failure(machine->sftp));
    lua_pushinteger(L, (lua_Integer)id);
    return 1;
}

static int session_sftp_queue(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    const mssh_lua_sftp *machine = machine_of(self, check_channel(L));

    if (machine == NULL)
        return push_gone(L);
    lua_pushinteger(L, (lua_Integer)mssh_sftp_flush(machine->sftp));
    return 1;
}

static int session_sftp_stop(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    const mssh_lua_sftp *machine = machine_of(self, check_channel(L));

    if (machine != NULL)
        mssh_sftp_stop(machine->sftp);
    lua_pushboolean(L, machine != NULL);
    return 1;
}

static int session_sftp_path(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    const mssh_lua_sftp *machine = machine_of(self, check_channel(L));
    mssh_sftp_path path;

    if (machine == NULL)
        return push_gone(L);
    mssh_sftp_path_get(machine->sftp, &path);
    lua_pushnumber(L, (lua_Number)path.round_trip_us / 1e6);
    lua_pushinteger(L, (lua_Integer)path.rate);
    lua_pushinteger(L, (lua_Integer)path.target);
    lua_pushinteger(L, (lua_Integer)path.n_short);
    return 4;
}

/* --- transfers -------------------------------------------------------------------------------------------
 */

static void transfer_release(void *object)
{
    mssh_lua_transfer *self = object;

    mssh_transfer_free(self->transfer);
    self->transfer = NULL;
}

static mssh_lua_transfer *check_transfer(lua_State *L);

static const char *const causes[] = {
    [MSSH_TRANSFER_BY_NOTHING] = NULL,      [MSSH_TRANSFER_BY_STATUS] = "status",
    [MSSH_TRANSFER_BY_FILE] = "io",         [MSSH_TRANSFER_BY_CHANGE] = "change",
    [MSSH_TRANSFER_BY_CHANNEL] = "channel",
};

static int transfer_state(lua_State *L)
{
    static const char *const names[] = {"moving", "done", "failed"};
    const mssh_transfer_status *status = mssh_transfer_status_of(check_transfer(L)->transfer);

    lua_pushstring(L, names[status->state]);
    lua_pushinteger(L, (lua_Integer)status->low);
    lua_pushinteger(L, (lua_Integer)status->moved);
    return 3;
}

static int transfer_failure(lua_State *L)
{
    mssh_transfer_status status = *mssh_transfer_status_of(check_transfer(L)->transfer);

    if (status.state != MSSH_TRANSFER_FAILED) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushstring(L, causes[status.cause]);
    lua_pushinteger(L, status.number);
    lua_pushinteger(L, (lua_Integer)status.offset);
    if (status.cause == MSSH_TRANSFER_BY_FILE) {
        (void)mssh_lua_push_errno(L, "io", status.number); /* nil, code, message, errno */
        lua_pop(L, 1);
        lua_replace(L, -3);
        lua_pop(L, 1);
    } else {
        lua_pushlstring(L, status.text, status.text_len);
    }
    return 4;
}

static const luaL_Reg transfer_methods[] = {
    {"state", transfer_state},
    {"failure", transfer_failure},
    {NULL, NULL},
};

static const mssh_lua_class transfer_class = {
    .name = "moonssh.core.transfer",
    .tag = 0x7472616e,
    .size = sizeof(mssh_lua_transfer),
    .release = transfer_release,
    .methods = {transfer_methods},
};

static mssh_lua_transfer *check_transfer(lua_State *L)
{
    return mssh_lua_object_check(L, 1, &transfer_class);
}

static int session_sftp_attach(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    const mssh_lua_sftp *machine = machine_of(self, check_channel(L));
    const mssh_lua_transfer *transfer = luaL_checkudata(L, 3, transfer_class.name);
    mssh_slice handle = mssh_lua_check_slice(L, 4);

    luaL_argcheck(L, lua_rawlen(L, 3) >= sizeof *transfer && transfer->object.tag == transfer_class.tag, 3,
                  "no transfer");
    luaL_argcheck(L, !transfer->object.closed, 3, "it is closed");
    if (machine == NULL)
        return push_gone(L);
    return mssh_lua_push_result(L, mssh_sftp_attach(machine->sftp, transfer->transfer, handle),
                                mssh_sftp_failure(machine->sftp));
}

const luaL_Reg mssh_lua_session_sftp_methods[] = {
    {"sftp_start", session_sftp_start},
    {"sftp_request", session_sftp_request},
    {"sftp_queue", session_sftp_queue},
    {"sftp_path", session_sftp_path},
    {"sftp_attach", session_sftp_attach},
    {"sftp_stop", session_sftp_stop},
    {NULL, NULL},
};

/* core.transfer(file, sends, key, block, offset, size, spread, step) */
static int transfer_new(lua_State *L)
{
    const mssh_lua_local *local = mssh_lua_local_check(L, 1);
    lua_Integer key = luaL_checkinteger(L, 3);
    mssh_transfer_options options = {
        .sends = lua_toboolean(L, 2),
        .block = (uint32_t)mssh_lua_check_range(L, 4, 1, MSSH_SFTP_PACKET_MOST - 1024),
        .offset = (uint64_t)mssh_lua_check_range(L, 5, 0, LUA_MAXINTEGER),
        .size = MSSH_TRANSFER_UNKNOWN,
        .spread = (uint64_t)mssh_lua_check_range(L, 7, 1, LUA_MAXINTEGER),
        .step = (uint64_t)mssh_lua_check_range(L, 8, 0, LUA_MAXINTEGER),
    };
    mssh_lua_transfer *self;

    if (!lua_isnil(L, 6))
        options.size = (uint64_t)mssh_lua_check_range(L, 6, 0, LUA_MAXINTEGER);
    self = mssh_lua_object_new(L, &transfer_class, 1);
    lua_pushvalue(L, 1);
    (void)lua_setiuservalue(L, -2, 1);
    mssh_lua_mem_init(L, &self->mem);
    self->local = local;
    self->key = key;
    options.user = self;
    self->transfer = mssh_transfer_new(&self->mem, &options);
    return self->transfer != NULL ? 1 : mssh_lua_push_failure(L, MSSH_ERR_MEMORY, NULL);
}

void mssh_lua_open_sftp(lua_State *L)
{
    mssh_lua_class_open(L, &transfer_class);
    lua_pushcfunction(L, transfer_new);
    lua_setfield(L, -2, "transfer");
}
