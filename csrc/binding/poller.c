/* The poller: epoll where there is one, poll everywhere. MSSH_NO_EPOLL builds without the first. */
#include "binding/binding.h"
#include "binding/fd.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <unistd.h>

#if defined(__linux__) && !defined(MSSH_NO_EPOLL)
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#define HAVE_EPOLL 1
#else
#define HAVE_EPOLL 0
#endif

/* Most descriptors reported by one wait; level-triggered, so the next one gives the others. */
enum { BATCH = 256 };

/* User value 1 of a poller is the list that wait gives. */
enum { LIST = 1 };

enum { READ = 1, WRITE = 2 };

typedef struct poller {
    mssh_lua_object object;
    mssh_mem mem;
    int epoll; /* -1: the entries below are polled */
    int alarm; /* a timer within epoll, -1 before the first alarm */
    struct pollfd *entries;
    size_t n_entries;
    size_t cap;
    size_t next; /* where the next report begins, so that a busy entry does not starve those behind it */
} poller;

static void poller_release(void *object)
{
    poller *self = object;

    if (self->epoll >= 0)
        (void)close(self->epoll);
    if (self->alarm >= 0)
        (void)close(self->alarm);
    self->epoll = self->alarm = -1;
    if (self->entries != NULL)
        mssh_free(&self->mem, self->entries, self->cap * sizeof *self->entries);
    self->entries = NULL;
    self->n_entries = self->cap = 0;
}

static int poller_set(lua_State *L);
static int poller_wait(lua_State *L);
static int poller_fd(lua_State *L);
static int poller_alarm(lua_State *L);

static const luaL_Reg methods[] = {
    {"set", poller_set}, {"wait", poller_wait}, {"fd", poller_fd}, {"alarm", poller_alarm}, {NULL, NULL},
};

static const mssh_lua_class poller_class = {
    .name = "moonssh.core.poller",
    .tag = 0x706f6c6c,
    .size = sizeof(poller),
    .release = poller_release,
    .methods = {methods},
};

/* What a report adds to the list: fd at n + 1, what it is ready for at n + 2. */
static lua_Integer report(lua_State *L, lua_Integer n, int fd, int ready)
{
    lua_pushinteger(L, fd);
    lua_rawseti(L, -2, n + 1);
    lua_pushstring(L, ready == READ ? "r" : ready == WRITE ? "w" : "rw");
    lua_rawseti(L, -2, n + 2);
    return n + 2;
}

/* poll ----------------------------------------------------------------------------------------------------
 */

static int entries_grow(poller *self)
{
    size_t cap = self->cap > 0 ? self->cap * 2 : 16;
    struct pollfd *entries = mssh_resize(&self->mem, self->entries, self->cap * sizeof *entries,
                                         cap * sizeof *entries, self->n_entries * sizeof *entries);

    if (entries == NULL)
        return ENOMEM;
    self->entries = entries;
    self->cap = cap;
    return 0;
}

static int entries_set(poller *self, int fd, int interest)
{
    short events = (short)((interest & READ ? POLLIN : 0) | (interest & WRITE ? POLLOUT : 0));
    size_t i = 0;

    while (i < self->n_entries && self->entries[i].fd != fd)
        i++;
    if (interest == 0) {
        if (i < self->n_entries)
            self->entries[i] = self->entries[--self->n_entries];
        return 0;
    }
    if (i == self->n_entries) {
        if (self->n_entries == self->cap && entries_grow(self) != 0)
            return ENOMEM;
        self->n_entries++;
    }
    self->entries[i] = (struct pollfd){.fd = fd, .events = events};
    return 0;
}

/* A descriptor that was closed meanwhile drops out silently, as from epoll. */
static void entries_drop_closed(poller *self)
{
    size_t kept = 0;

    for (size_t i = 0; i < self->n_entries; i++) {
        if ((self->entries[i].revents & POLLNVAL) == 0)
            self->entries[kept++] = self->entries[i];
    }
    self->n_entries = kept;
}

static lua_Integer entries_wait(lua_State *L, poller *self, int timeout_ms)
{
    int n = poll(self->entries, (nfds_t)self->n_entries, timeout_ms);
    lua_Integer len = 0;

    if (n <= 0)
        return n < 0 && errno != EINTR ? -errno : 0;
    entries_drop_closed(self);
    for (size_t i = 0, at = self->next; i < self->n_entries && len < 2 * BATCH; i++, at++) {
        const struct pollfd *entry = &self->entries[at % self->n_entries];
        int ready = (entry->revents & POLLIN ? READ : 0) | (entry->revents & POLLOUT ? WRITE : 0);
        if (entry->revents & ~(POLLIN | POLLOUT))
            ready = READ | WRITE;
        if (ready != 0) {
            len = report(L, len, entry->fd, ready);
            self->next = at + 1;
        }
    }
    return len;
}

/* epoll ---------------------------------------------------------------------------------------------------
 */

#if HAVE_EPOLL
static int epoll_set(poller *self, int fd, int interest)
{
    struct epoll_event event = {
        .events = (interest & READ ? EPOLLIN : 0u) | (interest & WRITE ? EPOLLOUT : 0u),
        .data = {.fd = fd},
    };

    if (interest == 0) {
        if (epoll_ctl(self->epoll, EPOLL_CTL_DEL, fd, &event) != 0 && errno != EBADF && errno != ENOENT &&
            errno != EPERM)
            return errno;
        return 0;
    }
    if (epoll_ctl(self->epoll, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    if (errno != ENOENT)
        return errno;
    return epoll_ctl(self->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

/* The alarm has gone off once; the number of times that it has is of no interest. */
static void alarm_take(const poller *self)
{
    uint64_t times;

    if (read(self->alarm, &times, sizeof times) < 0)
        return;
}

static int alarm_open(poller *self)
{
    struct epoll_event event = {.events = EPOLLIN};
    int status;

    self->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (self->alarm < 0)
        return errno;
    event.data.fd = self->alarm;
    if (epoll_ctl(self->epoll, EPOLL_CTL_ADD, self->alarm, &event) == 0)
        return 0;
    status = errno;
    (void)close(self->alarm);
    self->alarm = -1;
    return status;
}

/* A time of 0 would put the timer off: it becomes the shortest there is. */
static int alarm_set(poller *self, double seconds)
{
    struct itimerspec when = {.it_value = {.tv_sec = 0, .tv_nsec = 0}};
    int status = self->alarm < 0 ? alarm_open(self) : 0;

    if (status != 0)
        return status;
    if (seconds >= 0) {
        when.it_value.tv_sec = (time_t)seconds;
        when.it_value.tv_nsec = (long)((seconds - floor(seconds)) * 1e9);
        if (when.it_value.tv_sec == 0 && when.it_value.tv_nsec == 0)
            when.it_value.tv_nsec = 1;
    }
    return timerfd_settime(self->alarm, 0, &when, NULL) == 0 ? 0 : errno;
}

static lua_Integer epoll_report(lua_State *L, poller *self, int timeout_ms)
{
    struct epoll_event events[BATCH];
    int n = epoll_wait(self->epoll, events, BATCH, timeout_ms);
    lua_Integer len = 0;

    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == self->alarm) {
            alarm_take(self);
            continue;
        }
        int ready = (events[i].events & EPOLLIN ? READ : 0) | (events[i].events & EPOLLOUT ? WRITE : 0);
        if (events[i].events & (EPOLLERR | EPOLLHUP))
            ready = READ | WRITE;
        len = report(L, len, events[i].data.fd, ready);
    }
    return len;
}
#endif

/* Both ----------------------------------------------------------------------------------------------------
 */

static int poller_set(lua_State *L)
{
    static const char *const names[] = {"", "r", "w", "rw", NULL};
    poller *self = mssh_lua_object_check(L, 1, &poller_class);
    int fd = mssh_lua_check_fd(L, 2);
    int interest = lua_isnoneornil(L, 3) ? 0 : luaL_checkoption(L, 3, NULL, names);
    int status;

    luaL_argcheck(L, interest != 0 || lua_isnoneornil(L, 3), 3, "invalid option ''");
#if HAVE_EPOLL
    if (self->epoll >= 0)
        status = epoll_set(self, fd, interest);
    else
#endif
        status = entries_set(self, fd, interest);
    if (status != 0)
        return mssh_lua_push_errno(L, "io", status);
    lua_pushboolean(L, 1);
    return 1;
}

/* Rounded up: waking a little early would have the caller come back at once, many times. */
static int timeout_in_ms(lua_State *L, int arg)
{
    lua_Number ms;

    if (lua_isnoneornil(L, arg))
        return -1;
    ms = luaL_checknumber(L, arg);
    luaL_argcheck(L, !isnan(ms), arg, "number is not a number");
    ms = ceil(ms * 1000);
    return ms <= 0 ? 0 : ms >= INT_MAX ? INT_MAX : (int)ms;
}

static int poller_wait(lua_State *L)
{
    poller *self = mssh_lua_object_check(L, 1, &poller_class);
    int timeout_ms = timeout_in_ms(L, 2);
    lua_Integer len;

    (void)lua_getiuservalue(L, 1, LIST);
#if HAVE_EPOLL
    if (self->epoll >= 0)
        len = epoll_report(L, self, timeout_ms);
    else
#endif
        len = entries_wait(L, self, timeout_ms);
    if (len < 0)
        return mssh_lua_push_errno(L, "io", (int)-len);
    lua_pushinteger(L, len);
    return 2;
}

static int wait_for_one(lua_State *L)
{
    static const char *const names[] = {"r", "w", "rw", NULL};
    static const short events[] = {POLLIN, POLLOUT, POLLIN | POLLOUT};
    int fd = mssh_lua_check_fd(L, 1);
    short awaited = events[luaL_checkoption(L, 2, NULL, names)];

    lua_pushboolean(L, mssh_fd_wait(fd, awaited, mssh_lua_opt_time(L, 3)));
    return 1;
}

static int poller_fd(lua_State *L)
{
    const poller *self = mssh_lua_object_check(L, 1, &poller_class);

    if (self->epoll >= 0)
        lua_pushinteger(L, self->epoll);
    else
        lua_pushnil(L);
    return 1;
}

/* Most seconds ahead that an alarm is set to; whoever waits longer asks again. */
static const lua_Number ALARM_MOST = 1e8;

static int poller_alarm(lua_State *L)
{
    poller *self = mssh_lua_object_check(L, 1, &poller_class);
    lua_Number seconds = lua_isnoneornil(L, 2) ? -1 : fmax(0, luaL_checknumber(L, 2));
    int status = ENOSYS;

#if HAVE_EPOLL
    if (self->epoll >= 0)
        status = alarm_set(self, fmin(seconds, ALARM_MOST));
#else
    (void)self;
    (void)ALARM_MOST;
#endif
    if (status != 0)
        return mssh_lua_push_errno(L, "io", status);
    lua_pushboolean(L, 1);
    return 1;
}

static int poller_new(lua_State *L)
{
    static const char *const kinds[] = {"epoll", "poll", NULL};
    bool by_epoll = luaL_checkoption(L, 1, HAVE_EPOLL ? "epoll" : "poll", kinds) == 0;
    poller *self = mssh_lua_object_new(L, &poller_class, 1);

    self->epoll = self->alarm = -1;
    mssh_lua_mem_init(L, &self->mem);
    lua_newtable(L);
    (void)lua_setiuservalue(L, -2, LIST);
#if HAVE_EPOLL
    if (by_epoll) {
        self->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (self->epoll < 0)
            return mssh_lua_push_errno(L, "io", errno);
    }
#else
    luaL_argcheck(L, !by_epoll, 1, "not built with epoll");
#endif
    return 1;
}

void mssh_lua_open_poller(lua_State *L)
{
    mssh_lua_class_open(L, &poller_class);
    lua_pushcfunction(L, poller_new);
    lua_setfield(L, -2, "poller");
    lua_pushcfunction(L, wait_for_one);
    lua_setfield(L, -2, "wait");
}
