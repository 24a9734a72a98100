/* core.session: the object, its input and output, its clock and its end. Everything that waits is in Lua. */
#include "binding/fd.h"
#include "binding/sftp.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

/* Most bytes that one read takes: a read is one step, and a step must end although the peer sends on. */
enum { READ_MOST = 256 * 1024 };

/* Times that one write takes up files to be sent. */
enum { WRITE_FILLS = 16 };

/* Reads in a row without an event, before Lua may look whether somebody interrupts it. */
enum { RECEIVE_READS = 64 };

/* Reads that ask for quick acknowledgement once a channel for a command was opened. */
enum { QUICK_READS = 48 };

/* What a session weighs in for the collector, which does not see its buffers: a program that drops sessions
 * without closing them must not pile them up. */
enum { WEIGHT_KIB = 64 };

void mssh_lua_session_push(lua_State *L, const mssh_lua_session *self, mssh_slice slice)
{
    if (self->object.closed)
        luaL_error(L, "the session was closed by a finalizer");
    mssh_lua_push_slice(L, slice);
}

int mssh_lua_session_result(lua_State *L, const mssh_lua_session *self, int code)
{
    return mssh_lua_push_result(L, code, mssh_session_failure(self->session));
}

static int session_start(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);

    return mssh_lua_session_result(L, self, mssh_session_start(self->session));
}

static int session_attach(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);

    return mssh_lua_session_result(L, self, mssh_session_attach(self->session));
}

/* Input and output ----------------------------------------------------------------------------------------
 */

/* The room for input. There is none while an event waits to be given again after Lua ran out of memory: its
 * bytes are still in the input buffer. */
static uint8_t *input_place(mssh_lua_session *self, size_t *room)
{
    *room = 0;
    return self->pending ? NULL : mssh_session_input(self->session, room);
}

/* Pushes nil, code, message, errno. A connection that the peer or the network has reset ended as one that was
 * closed did, only less politely. */
static int push_failure(lua_State *L, int number)
{
    switch (number) {
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case ENETRESET:
        return mssh_lua_push_errno(L, "eof", number);
    default:
        return mssh_lua_push_errno(L, "io", number);
    }
}

/* Reads once what there is room for. Pushes what session:read gives. A server does not send its next small
 * packet while the last one is not acknowledged (RFC 1122 4.2.3.4), until a command runs: so that is done at
 * once, and not 40 ms later, for as long as connecting and starting something may take; where there are but
 * connections that are forwarded, always. */
static int read_into(lua_State *L, mssh_lua_session *self, int fd, uint8_t *place, size_t room)
{
    const int on = 1;
    size_t asked = room < READ_MOST ? room : READ_MOST;
    ssize_t n;

    if (self->n_quick < QUICK_READS) {
        self->n_quick += self->for_commands;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on); /* speed only */
    }
    n = mssh_fd_recv(fd, place, asked);
    if (n == -EAGAIN) {
        lua_pushliteral(L, "again");
    } else if (n < 0) {
        return push_failure(L, (int)-n);
    } else if (n == 0) {
        mssh_session_input_eof(self->session);
        lua_pushliteral(L, "eof");
    } else {
        mssh_session_input_done(self->session, (size_t)n);
        /* What did not fill the room was all there is: asking again would cost a system call for nothing. */
        lua_pushstring(L, (size_t)n < asked ? "again" : "more");
    }
    return 1;
}

static int session_read(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    int fd = mssh_lua_check_fd(L, 2);
    size_t room;
    uint8_t *place = input_place(self, &room);

    if (room > 0)
        return read_into(L, self, fd, place, room);
    lua_pushliteral(L, "full");
    return 1;
}

/* Files that are sent follow as fast as the descriptor takes them, up to a share: answers are to be read,
 * too. Sends output until none is left (1), or none of this share, or the descriptor takes no more (0). A
 * negated errno when it fails. */
static int send_output(mssh_lua_session *self, int fd)
{
    mssh_slice output;
    int fills = 0;

    self->cut_short = false;
    while ((output = mssh_session_output(self->session)).len > 0 ||
           (fills < WRITE_FILLS && mssh_lua_sftp_fill(self))) {
        if (output.len == 0) {
            fills++;
            continue;
        }
        ssize_t n = mssh_fd_send(fd, output.data, output.len);
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        if (n <= 0)
            return 0;
        mssh_session_output_done(self->session, (size_t)n);
    }
    self->cut_short = fills == WRITE_FILLS;
    return 1;
}

/* Whether there is an event that is not to be held back. */
static bool take_event(mssh_lua_session *self, mssh_channel patient)
{
    while (mssh_lua_session_take_event(self))
        if (!mssh_lua_session_hold(self, patient))
            return true;
    return false;
}

/* A packet comes in pieces, and not every packet means something to Lua: what is no event, or one that need
 * not be known before the channel has more to tell, is waited out, and answered, in here. A failure to send
 * is left to the next write to report. */
static int session_receive(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    int fd = mssh_lua_check_fd(L, 2);
    uint64_t end = mssh_lua_opt_time(L, 3);
    mssh_channel patient = (mssh_channel)luaL_optinteger(L, 4, 0);
    int n_reads = 0;
    int n_results;

    do {
        size_t room;
        uint8_t *place = input_place(self, &room);
        lua_settop(L, 1);
        if (room == 0 || !mssh_fd_wait(fd, POLLIN, end)) {
            lua_pushstring(L, room == 0 ? "full" : "again");
            return 1;
        }
        n_results = read_into(L, self, fd, place, room);
    } while (n_results == 1 && lua_tostring(L, 2)[0] != 'e' && !take_event(self, patient) &&
             send_output(self, fd) == 1 && !mssh_lua_sftp_has_news(self) && ++n_reads < RECEIVE_READS);
    return n_results;
}

static int session_write(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    int status = send_output(self, mssh_lua_check_fd(L, 2));

    if (status < 0)
        return push_failure(L, -status);
    lua_pushboolean(L, status);
    return 1;
}

static int session_input_room(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    size_t room;

    (void)input_place(self, &room);
    lua_pushinteger(L, (lua_Integer)room);
    return 1;
}

static int session_input(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_slice bytes = mssh_lua_check_slice(L, 2);
    size_t room;
    uint8_t *place = input_place(self, &room);

    luaL_argcheck(L, bytes.len <= room, 2, "more than there is room for");
    if (bytes.len > 0) {
        memcpy(place, bytes.data, bytes.len);
        mssh_session_input_done(self->session, bytes.len);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int session_input_eof(lua_State *L)
{
    mssh_session_input_eof(mssh_lua_session_check(L)->session);
    lua_pushboolean(L, 1);
    return 1;
}

static int session_output(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    lua_Integer max = mssh_lua_opt_range(L, 2, LUA_MAXINTEGER, 0, LUA_MAXINTEGER);
    mssh_slice output = mssh_session_output(self->session);

    if (output.len == 0 && mssh_lua_sftp_fill(self))
        output = mssh_session_output(self->session);
    if ((uint64_t)max < output.len)
        output.len = (size_t)max;
    if (output.len == 0)
        lua_pushnil(L);
    else
        mssh_lua_push_slice(L, output);
    return 1;
}

static int session_output_done(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    lua_Integer len = mssh_lua_check_range(L, 2, 0, LUA_MAXINTEGER);

    luaL_argcheck(L, (uint64_t)len <= mssh_session_output(self->session).len, 2, "more than there was");
    mssh_session_output_done(self->session, (size_t)len);
    lua_pushboolean(L, 1);
    return 1;
}

static int session_wants(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    size_t room;

    (void)input_place(self, &room);
    lua_pushboolean(L, room > 0);
    lua_pushboolean(L, mssh_session_output(self->session).len > 0 || self->cut_short);
    return 2;
}

/* Clock ---------------------------------------------------------------------------------------------------
 */

/* A deadline becomes seconds and comes back as milliseconds: the little that is added keeps it from falling
 * just below itself on the way. */
static int session_tick(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    lua_Number now = mssh_lua_check_seconds(L, 2);

    luaL_argcheck(L, now >= 0 && now < 1e15, 2, "value out of range");
    mssh_session_tick(self->session, (uint64_t)(now * 1000 + 0.01));
    lua_pushboolean(L, 1);
    return 1;
}

static int session_deadline(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    uint64_t deadline = mssh_session_deadline(self->session);

    if (mssh_lua_sftp_has_news(self))
        deadline = 0; /* what there is to tell does not come from the peer */
    if (deadline == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushnumber(L, (lua_Number)deadline / 1000);
    return 1;
}

/* All that is to be known before a wait, in one call. */
static int session_idle(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    bool pending;

    (void)session_tick(L);
    pending = self->n_notices > 0 || mssh_lua_session_take_event(self);
    (void)session_deadline(L);
    (void)session_wants(L);
    lua_pushboolean(L, pending);
    return 4;
}

/* The end -------------------------------------------------------------------------------------------------
 */

/* The error code of a name; CLOSED, remembered under Lua's own name, for one that the core does not know. */
static int code_of(const char *name)
{
#define SESSION_CODE(id, value, text)                                                                        \
    if (strcmp(name, text) == 0)                                                                             \
        return value;
    MSSH_ERRORS(SESSION_CODE)
#undef SESSION_CODE
    return MSSH_ERR_CLOSED;
}

static int session_fail(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    const char *name = mssh_lua_check_text(L, 2);
    const char *message = mssh_lua_check_text(L, 3);
    uint32_t reason = (uint32_t)mssh_lua_opt_range(L, 4, 0, 0, UINT32_MAX);
    mssh_failure failure = {0};

    luaL_argcheck(L, name[0] != '\0' && strlen(name) < sizeof self->code, 2, "not an error code");
    (void)mssh_fail(&failure, code_of(name), reason, "%s", message);
    if (mssh_session_failure(self->session)->code == 0)
        memcpy(self->code, name, strlen(name) + 1);
    mssh_session_fail(self->session, &failure);
    lua_pushboolean(L, 1);
    return 1;
}

static int session_failure(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    const mssh_failure *failure = mssh_session_failure(self->session);
    int code = failure->code;
    uint32_t reason = failure->reason;

    if (code == 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushstring(L, failure->message); /* first: the view ends with the next push */
    lua_pushstring(L, self->code[0] != '\0' ? self->code : mssh_err_name(code));
    lua_insert(L, -2);
    lua_pushinteger(L, reason);
    return 3;
}

static int session_disconnect(lua_State *L)
{
    mssh_lua_session *self = mssh_lua_session_check(L);
    uint32_t reason = (uint32_t)mssh_lua_check_range(L, 2, 0, UINT32_MAX);
    mssh_slice text = mssh_lua_opt_slice(L, 3);
    mssh_transport *transport = mssh_session_transport(self->session);

    return mssh_lua_session_result(L, self, mssh_transport_disconnect(transport, reason, text));
}

static int session_memory(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);

    lua_pushinteger(L, (lua_Integer)self->mem.in_use);
    lua_pushinteger(L, (lua_Integer)self->mem.peak);
    return 2;
}

static const luaL_Reg methods[] = {
    {"start", session_start},        {"attach", session_attach},
    {"read", session_read},          {"receive", session_receive},
    {"write", session_write},        {"input_room", session_input_room},
    {"input", session_input},        {"input_eof", session_input_eof},
    {"output", session_output},      {"output_done", session_output_done},
    {"wants", session_wants},        {"tick", session_tick},
    {"deadline", session_deadline},  {"idle", session_idle},
    {"next", mssh_lua_session_next}, {"fail", session_fail},
    {"failure", session_failure},    {"disconnect", session_disconnect},
    {"memory", session_memory},      {NULL, NULL},
};

static void session_release(void *object)
{
    mssh_lua_session *self = object;

    for (size_t i = 0; i < self->n_channels; i++)
        mssh_lua_sftp_free(self, self->channels[i].sftp);
    mssh_session_free(self->session);
    self->session = NULL;
    self->pending = false;
    self->n_notices = 0;
    if (self->channels != NULL)
        mssh_free(&self->mem, self->channels, self->channels_cap * sizeof *self->channels);
    self->channels = NULL;
    self->n_channels = self->channels_cap = self->n_machines = 0;
}

static const mssh_lua_class session_class = {
    .name = "moonssh.core.session",
    .tag = 0x73657373,
    .size = sizeof(mssh_lua_session),
    .release = session_release,
    .methods = {methods, mssh_lua_session_info_methods, mssh_lua_session_auth_methods,
                mssh_lua_session_channel_methods, mssh_lua_session_sftp_methods},
};

mssh_lua_session *mssh_lua_session_check(lua_State *L)
{
    return mssh_lua_object_check(L, 1, &session_class);
}

static int session_new(lua_State *L)
{
    mssh_session_options options;
    mssh_failure failure = {0};
    mssh_lua_session *self;
    int status;

    lua_settop(L, 1);
    if (lua_gc(L, LUA_GCISRUNNING))
        (void)lua_gc(L, LUA_GCSTEP, WEIGHT_KIB);
    self = mssh_lua_object_new(L, &session_class, 0);
    mssh_lua_mem_init(L, &self->mem);
    mssh_lua_session_options(L, 1, &options); /* views that a finalizer could take away: used at once */
    status = mssh_session_new(&self->mem, &options, &self->session, &failure);
    return status == 0 ? 1 : mssh_lua_push_failure(L, status, &failure);
}

void mssh_lua_open_session(lua_State *L)
{
    mssh_lua_class_open(L, &session_class);
    lua_pushcfunction(L, session_new);
    lua_setfield(L, -2, "session");
}
