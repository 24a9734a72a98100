/*
 * core.resolve: getaddrinfo in a thread of its own. The job is shared by the thread and the Lua object, and
 * freed by whichever lets go last: closing the object, or the whole state, never waits for a name server.
 */
#include "binding/binding.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NAME_MOST = 1024 };

typedef struct job {
    mssh_mem mem; /* libc's: two threads may free it, and Lua's allocator belongs to one */
    atomic_int owners;
    atomic_bool done; /* released by the thread when status and addresses are there */
    int event;        /* an eventfd, readable when done */
    int family;
    int flags;  /* of getaddrinfo, beside those for the kind of lookup */
    int status; /* of getaddrinfo */
    int number; /* errno, when that is EAI_SYSTEM */
    struct addrinfo *addresses;
    int port;
    char host[NAME_MOST + 1];
} job;

typedef struct resolver {
    mssh_lua_object object;
    job *job;
} resolver;

static job *job_new(const char *host, int port, int family, int flags)
{
    mssh_mem mem;
    job *self;

    mssh_mem_init(&mem, NULL, NULL);
    self = mssh_alloc(&mem, sizeof *self);
    if (self == NULL)
        return NULL;
    self->mem = mem;
    self->family = family;
    self->flags = flags;
    atomic_init(&self->owners, 1);
    atomic_init(&self->done, false);
    self->port = port;
    (void)snprintf(self->host, sizeof self->host, "%s", host);
    self->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    self->number = self->event < 0 ? errno : 0;
    return self;
}

static void job_release(job *self)
{
    mssh_mem mem;

    if (self == NULL || atomic_fetch_sub(&self->owners, 1) != 1)
        return;
    if (self->addresses != NULL)
        freeaddrinfo(self->addresses);
    if (self->event >= 0)
        (void)close(self->event);
    mem = self->mem;
    mssh_free(&mem, self, sizeof *self);
}

static void job_lookup(job *self, int flags)
{
    char port[16];
    struct addrinfo hints = {.ai_family = self->family,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = flags | self->flags | AI_NUMERICSERV};

    (void)snprintf(port, sizeof port, "%d", self->port);
    self->addresses = NULL;
    self->status = getaddrinfo(self->host, port, &hints, &self->addresses);
    self->number = self->status == EAI_SYSTEM ? errno : 0;
}

static void job_finish(job *self)
{
    const uint64_t one = 1;

    atomic_store(&self->done, true);
    /* The counter is at 0: this cannot fail or wait. */
    if (write(self->event, &one, sizeof one) < 0)
        return;
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Whether a name is this machine by definition (RFC 6761 6.3): "localhost", or below it. */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    const size_t name_len = sizeof name - 1;
    size_t len = strlen(host);

    while (len > 0 && host[len - 1] == '.')
        len--;
    if (len < name_len || (len > name_len && host[len - name_len - 1] != '.'))
        return false;
    for (size_t i = 0; i < name_len; i++) {
        if (lower(host[len - name_len + i]) != name[i])
            return false;
    }
    return true;
}

/*
 * AI_ADDRCONFIG spares the question for IPv6 addresses where there is no IPv6. But it does not count loopback
 * addresses as a configuration: "localhost" would lose ::1 on a machine with IPv4 alone, and every name fails
 * on one without network. So the former is asked without it, and what fails is asked again without it.
 */
static void *job_run(void *argument)
{
    job *self = argument;
    bool local = is_localhost(self->host);

    job_lookup(self, local ? 0 : AI_ADDRCONFIG);
    if (self->status != 0 && self->status != EAI_AGAIN && !local)
        job_lookup(self, 0);
    job_finish(self);
    job_release(self);
    return NULL;
}

/* The thread takes no signals: those are for the threads of the program. */
static int job_start(job *self)
{
    pthread_attr_t attributes;
    sigset_t all, old;
    pthread_t thread;
    int status;

    if (pthread_attr_init(&attributes) != 0)
        return ENOMEM;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    (void)atomic_fetch_add(&self->owners, 1);
    status = pthread_create(&thread, &attributes, job_run, self);
    if (status != 0)
        (void)atomic_fetch_sub(&self->owners, 1);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attributes);
    return status;
}

static void resolver_release(void *object)
{
    resolver *self = object;

    job_release(self->job);
    self->job = NULL;
}

static int resolver_fd(lua_State *L);
static int resolver_result(lua_State *L);

static const luaL_Reg methods[] = {
    {"fd", resolver_fd},
    {"result", resolver_result},
    {NULL, NULL},
};

static const mssh_lua_class resolver_class = {
    .name = "moonssh.core.resolver",
    .tag = 0x7265736f,
    .size = sizeof(resolver),
    .release = resolver_release,
    .methods = {methods},
};

static int resolver_fd(lua_State *L)
{
    const resolver *self = mssh_lua_object_check(L, 1, &resolver_class);

    lua_pushinteger(L, self->job->event);
    return 1;
}

/* Of the address nothing is read after the first push, which may end it. */
static void push_address(lua_State *L, const struct addrinfo *address, lua_Integer port)
{
    bool is_inet = address->ai_family == AF_INET;
    char text[NI_MAXHOST] = "";

    (void)getnameinfo(address->ai_addr, address->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    lua_pushlstring(L, (const char *)address->ai_addr, address->ai_addrlen);
    lua_createtable(L, 0, 4);
    lua_pushstring(L, is_inet ? "inet" : "inet6");
    lua_setfield(L, -2, "family");
    lua_pushstring(L, text);
    lua_setfield(L, -2, "text");
    lua_pushinteger(L, port);
    lua_setfield(L, -2, "port");
    lua_insert(L, -2);
    lua_setfield(L, -2, "sockaddr");
}

static int resolver_result(lua_State *L)
{
    const resolver *self = mssh_lua_object_check(L, 1, &resolver_class);
    const job *done = self->job;
    int port = done->port;
    lua_Integer n = 0;

    if (!atomic_load(&done->done)) {
        lua_pushnil(L);
        lua_pushstring(L, "again");
        return 2;
    }
    if (done->status == EAI_SYSTEM)
        return mssh_lua_push_errno(L, "resolve", done->number);
    if (done->status != 0) {
        lua_pushnil(L);
        lua_pushstring(L, "resolve");
        lua_pushstring(L, gai_strerror(done->status));
        return 3;
    }
    lua_newtable(L);
    /* A finalizer may close it on the way: then the list ends there. */
    for (const struct addrinfo *at = self->object.closed ? NULL : done->addresses; at != NULL;
         at = self->object.closed ? NULL : at->ai_next) {
        if (at->ai_family != AF_INET && at->ai_family != AF_INET6)
            continue;
        push_address(L, at, port);
        lua_rawseti(L, -2, ++n);
    }
    if (!self->object.closed && done->addresses != NULL && done->addresses->ai_canonname != NULL) {
        lua_pushstring(L, done->addresses->ai_canonname);
        lua_setfield(L, -2, "canonical");
    }
    return 1;
}

/* core.resolve(host, port, family, canonical) */
static int resolve(lua_State *L)
{
    static const char *const names[] = {"inet", "inet6", "any", NULL};
    static const int families[] = {AF_INET, AF_INET6, AF_UNSPEC};
    const char *host = mssh_lua_check_text(L, 1);
    int port = (int)mssh_lua_check_range(L, 2, 0, 65535);
    int family = families[luaL_checkoption(L, 3, "any", names)];
    resolver *self;
    int status = 0;

    if (strlen(host) > NAME_MOST) {
        lua_pushnil(L);
        lua_pushstring(L, "resolve");
        lua_pushstring(L, "the host name is too long");
        return 3;
    }
    self = mssh_lua_object_new(L, &resolver_class, 0);
    self->job = job_new(host, port, family, lua_toboolean(L, 4) ? AI_CANONNAME : 0);
    if (self->job == NULL)
        return mssh_lua_push_failure(L, MSSH_ERR_MEMORY, NULL);
    if (self->job->event < 0)
        return mssh_lua_push_errno(L, "io", self->job->number);
    job_lookup(self->job, AI_NUMERICHOST);
    if (self->job->status == 0)
        job_finish(self->job);
    else
        status = job_start(self->job);
    if (status != 0)
        return mssh_lua_push_errno(L, "resolve", status);
    return 1;
}

void mssh_lua_open_resolver(lua_State *L)
{
    mssh_lua_class_open(L, &resolver_class);
    lua_pushcfunction(L, resolve);
    lua_setfield(L, -2, "resolve");
}
