/* core.process: programs that are started for a session (ProxyCommand) or a question (Match exec), and reaped
 * without waiting and without a handler of signals. */
#include "binding/binding.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MOST = 4096, LOWEST_FD = 3 };

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
#define HAS_CLOSEFROM 1
#endif

extern char **environ;

typedef struct process {
    mssh_lua_object object;
    pid_t pid;  /* 0 once it is reaped */
    int pid_fd; /* readable when it has ended; -1 where the system has none */
    int status; /* of waitpid, once it is reaped; -1 when somebody else has reaped it */
} process;

/* Takes the status if it has ended. Whether it has. */
static bool process_reap(process *self, int flags)
{
    pid_t pid;
    int status = 0;

    if (self->pid == 0)
        return true;
    do
        pid = waitpid(self->pid, &status, flags);
    while (pid < 0 && errno == EINTR);
    if (pid == 0)
        return false;
    self->status = pid < 0 ? -1 : status;
    self->pid = 0;
    return true;
}

/* One that was told to end by SIGKILL does so at once: waiting for it takes no time. */
static void process_release(void *object)
{
    process *self = object;

    if (!process_reap(self, WNOHANG) && self->pid > 0) {
        (void)kill(self->pid, SIGHUP);
        (void)kill(self->pid, SIGKILL);
        (void)process_reap(self, 0);
    }
    if (self->pid_fd >= 0)
        (void)close(self->pid_fd);
    self->pid_fd = -1;
}

static int process_fd(lua_State *L);
static int process_wait(lua_State *L);
static int process_pid(lua_State *L);

static const luaL_Reg methods[] = {
    {"fd", process_fd}, {"wait", process_wait}, {"pid", process_pid}, {NULL, NULL}};

static const mssh_lua_class process_class = {
    .name = "moonssh.core.process",
    .tag = 0x70726f63,
    .size = sizeof(process),
    .release = process_release,
    .methods = {methods},
};

static int process_fd(lua_State *L)
{
    process *self = mssh_lua_object_check(L, 1, &process_class);

    if (self->pid_fd < 0)
        return 0;
    lua_pushinteger(L, self->pid_fd);
    return 1;
}

static int process_pid(lua_State *L)
{
    process *self = mssh_lua_object_check(L, 1, &process_class);

    if (self->pid == 0)
        return 0;
    lua_pushinteger(L, self->pid);
    return 1;
}

static int process_wait(lua_State *L)
{
    process *self = mssh_lua_object_check(L, 1, &process_class);

    if (!process_reap(self, WNOHANG)) {
        lua_pushnil(L);
        lua_pushstring(L, "again");
        return 2;
    }
    if (self->status == -1) {
        lua_pushstring(L, "gone");
        return 1;
    }
    lua_pushstring(L, WIFEXITED(self->status) ? "exit" : "signal");
    lua_pushinteger(L, WIFEXITED(self->status) ? WEXITSTATUS(self->status) : WTERMSIG(self->status));
    return 2;
}

/* What the child gets as its descriptors 0 and 1, moved out of the way of each other, and blocking as
 * programs expect; -1 for /dev/null. */
typedef struct streams {
    int fd[2];
} streams;

static int streams_open(streams *self, const int given[2])
{
    self->fd[0] = self->fd[1] = -1;
    for (int i = 0; i < 2; i++) {
        if (given[i] < 0)
            continue;
        self->fd[i] = fcntl(given[i], F_DUPFD_CLOEXEC, LOWEST_FD);
        if (self->fd[i] < 0 || fcntl(self->fd[i], F_SETFL, 0) != 0)
            return errno;
    }
    return 0;
}

static void streams_close(const streams *self)
{
    for (int i = 0; i < 2; i++) {
        if (self->fd[i] >= 0)
            (void)close(self->fd[i]);
    }
}

/* The child's descriptors: those of `given`, stderr as it is, and no other. 0 or an errno. */
static int plan_descriptors(posix_spawn_file_actions_t *actions, const streams *given)
{
    int number = 0;

    for (int i = 0; i < 2 && number == 0; i++) {
        if (given->fd[i] >= 0)
            number = posix_spawn_file_actions_adddup2(actions, given->fd[i], i);
        else
            number = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
    }
#ifdef HAS_CLOSEFROM
    if (number == 0)
        number = posix_spawn_file_actions_addclosefrom_np(actions, LOWEST_FD);
#endif
    return number;
}

/* No signal is blocked in the child, and a closed pipe ends it, whatever holds for us. 0 or an errno. */
static int plan_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, broken_pipe;
    int number;

    (void)sigemptyset(&none);
    (void)sigemptyset(&broken_pipe);
    (void)sigaddset(&broken_pipe, SIGPIPE);
    number = posix_spawnattr_setsigmask(attributes, &none);
    if (number == 0)
        number = posix_spawnattr_setsigdefault(attributes, &broken_pipe);
    if (number == 0)
        number = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return number;
}

/* 0 or an errno. */
static int start(process *self, char *const *arguments, const int given[2])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    streams child;
    pid_t pid = 0;
    int number = posix_spawn_file_actions_init(&actions);

    if (number != 0)
        return number;
    number = posix_spawnattr_init(&attributes);
    if (number != 0) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return number;
    }
    number = streams_open(&child, given);
    if (number == 0)
        number = plan_descriptors(&actions, &child);
    if (number == 0)
        number = plan_signals(&attributes);
    if (number == 0)
        number = posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments, environ);
    streams_close(&child);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (number == 0) {
        self->pid = pid;
        self->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    }
    return number;
}

/* The strings of the list at `arg`, as a list of C strings in a userdata on the stack; the strings stay the
 * list's. */
static char **check_arguments(lua_State *L, int arg)
{
    lua_Integer count;
    char **list;

    luaL_checktype(L, arg, LUA_TTABLE);
    count = (lua_Integer)lua_rawlen(L, arg);
    luaL_argcheck(L, count > 0 && count <= ARGUMENTS_MOST, arg, "no list of arguments");
    list = lua_newuserdatauv(L, (size_t)(count + 1) * sizeof *list, 0);
    for (lua_Integer i = 0; i < count; i++) {
        luaL_argcheck(L, lua_rawgeti(L, arg, i + 1) == LUA_TSTRING, arg, "an argument is no string");
        list[i] = (char *)(uintptr_t)mssh_lua_check_text(L, -1);
        lua_pop(L, 1);
    }
    list[count] = NULL;
    return list;
}

static int process_spawn(lua_State *L)
{
    char **arguments;
    process *self;
    int given[2];
    int number;

    given[0] = lua_isnoneornil(L, 2) ? -1 : mssh_lua_check_fd(L, 2);
    given[1] = lua_isnoneornil(L, 3) ? -1 : mssh_lua_check_fd(L, 3);
    lua_settop(L, 1);
    arguments = check_arguments(L, 1);
    self = mssh_lua_object_new(L, &process_class, 0);
    self->pid_fd = -1;
    number = arguments[0] != NULL ? start(self, arguments, given) : EINVAL;
    if (number != 0)
        return mssh_lua_push_errno(L, "io", number);
    return 1;
}

/* core.environment: a snapshot, as nobody else can list it. */
static int environment(lua_State *L)
{
    lua_newtable(L);
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        const char *equals = strchr(*at, '=');

        if (equals == NULL)
            continue;
        lua_pushlstring(L, *at, (size_t)(equals - *at));
        lua_pushstring(L, equals + 1);
        lua_rawset(L, -3);
    }
    return 1;
}

static const luaL_Reg functions[] = {{"spawn", process_spawn}, {NULL, NULL}};

void mssh_lua_open_process(lua_State *L)
{
    lua_pushcfunction(L, environment);
    lua_setfield(L, -2, "environment");
    mssh_lua_class_open(L, &process_class);
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "process");
}
