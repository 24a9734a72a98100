/*
 * Processes for the specs, which start real servers: spawn, talk to, wait for and end them. What is spawned
 * leads a process group of its own and is killed by the kernel when the spec's process dies, however that
 * happens; closing a handle ends the whole tree below it. See spec/support/process.lua for the face that
 * specs use.
 */
#include "testing/testing.h"
#include "testing/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESS_TYPE "moonssh_testing.process"

/* The three standard streams, in the order of their descriptors. */
static const char *const stream_names[3] = {"stdin", "stdout", "stderr"};

typedef struct process {
    pid_t pid;
    int pidfd;
    int stream[3]; /* our ends; -1 where the stream is no pipe or was closed */
    bool reaped;
    int status; /* as waitpid gave it, once reaped */
} process;

/* What the child of a fork needs; prepared before, since it may only make system calls. */
typedef struct child_plan {
    const char **argv;
    const char **envp;
    const char *cwd;
    int fd[3]; /* becomes descriptor 0, 1 and 2 */
    pid_t parent;
    int report; /* errno of a failing exec goes here */
} child_plan;

static int push_errno(lua_State *L, const char *what)
{
    int code = errno;

    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", what, strerror(code));
    return 2;
}

/* --- the child's side --- */

static void run_child(const child_plan *plan) __attribute__((noreturn));

static void run_child(const child_plan *plan)
{
    sigset_t none;
    int error;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != plan->parent)
        _exit(127); /* the parent died before the guard was set */

    /* First above 2, so that no copy overwrites one still needed. */
    int high[3];
    for (int i = 0; i < 3; i++)
        high[i] = fcntl(plan->fd[i], F_DUPFD_CLOEXEC, 3);
    for (int i = 0; i < 3; i++)
        dup2(high[i], i);
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);

    if (plan->cwd == NULL || chdir(plan->cwd) == 0)
        execvpe(plan->argv[0], (char *const *)plan->argv, (char *const *)plan->envp);
    error = errno;
    if (write(plan->report, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

/* --- preparing it --- */

/* An array of C strings that Lua frees: from the list at `index`. The strings stay anchored in that list. */
static const char **string_list(lua_State *L, int index)
{
    lua_Integer n = luaL_len(L, index);
    const char **list = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *list, 0);

    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, index, i);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "item %I of the list is not a string", i);
        list[i - 1] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    list[n] = NULL;
    return list;
}

/* Opens one stream of the child as its option says: "pipe", "stdout" (for stderr), a path, or nil for
 * /dev/null. */
static int open_stream(const char *how, int i, const int *opened, int *ours)
{
    int pair[2];
    int flags = i == 0 ? O_RDONLY : O_WRONLY | O_CREAT | O_APPEND;

    if (how == NULL)
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    if (strcmp(how, "stdout") == 0)
        return fcntl(opened[1], F_DUPFD_CLOEXEC, 0);
    if (strcmp(how, "pipe") != 0)
        return open(how, flags | O_CLOEXEC, 0600);
    /* A socket for stdin, since a write to it can be told not to raise SIGPIPE. */
    if (i == 0 ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) : pipe2(pair, O_CLOEXEC))
        return -1;
    *ours = i == 0 ? pair[1] : pair[0];
    return i == 0 ? pair[0] : pair[1];
}

static void close_all(int *fds, int n)
{
    for (int i = 0; i < n; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

/* Forks and reports a failing exec. Returns 0, or -1 with errno set and the child reaped. */
static int start(process *p, child_plan *plan)
{
    int report[2];
    int error = 0;

    if (pipe2(report, O_CLOEXEC) != 0)
        return -1;
    plan->report = report[1];
    plan->parent = getpid();
    p->pid = fork();
    if (p->pid == 0)
        run_child(plan);
    close(report[1]);
    if (p->pid < 0) {
        close(report[0]);
        return -1;
    }
    p->reaped = false;
    ssize_t n = read(report[0], &error, sizeof error);
    close(report[0]);
    if (n == 0)
        p->pidfd = pidfd_open(p->pid, 0);
    if (n == 0 && p->pidfd >= 0)
        return 0;
    if (n == 0)
        error = errno;
    kill(p->pid, SIGKILL);
    waitpid(p->pid, &p->status, 0);
    p->reaped = true;
    errno = error;
    return -1;
}

static const char *optional_string(lua_State *L, int table, const char *key)
{
    lua_getfield(L, table, key);
    const char *value = luaL_optstring(L, -1, NULL);
    lua_pop(L, 1); /* the options table keeps it alive */
    return value;
}

/* process.spawn(argv, env, options) -> handle | nil, message. argv and env are lists of strings; the options
 * are cwd, stdin, stdout and stderr. */
static int process_spawn(lua_State *L)
{
    child_plan plan = {.fd = {-1, -1, -1}};
    int failed = 0;

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    luaL_argcheck(L, luaL_len(L, 1) > 0, 1, "names no program");
    plan.argv = string_list(L, 1);
    plan.envp = string_list(L, 2);
    plan.cwd = optional_string(L, 3, "cwd");
    const char *how[3];
    for (int i = 0; i < 3; i++)
        how[i] = optional_string(L, 3, stream_names[i]);

    process *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (process){.pid = -1, .pidfd = -1, .stream = {-1, -1, -1}, .reaped = true};
    luaL_setmetatable(L, PROCESS_TYPE);

    for (int i = 0; i < 3 && !failed; i++) {
        plan.fd[i] = open_stream(how[i], i, plan.fd, &p->stream[i]);
        failed = plan.fd[i] < 0;
    }
    failed = failed || start(p, &plan) != 0;
    int error = errno;
    close_all(plan.fd, 3);
    if (!failed)
        return 1;
    close_all(p->stream, 3);
    errno = error;
    return push_errno(L, plan.argv[0]);
}

/* --- ending it --- */

static void reap(process *p, int flags)
{
    if (!p->reaped && waitpid(p->pid, &p->status, flags) == p->pid)
        p->reaped = true;
}

/* Kills the process and all below it, also those that left its group, and waits for the process. */
static void end_tree(process *p)
{
    reap(p, WNOHANG);
    if (!p->reaped)
        mssh_testing_kill_tree(p->pid);
    kill(-p->pid, SIGKILL); /* what is left of its group when it had ended by itself */
    reap(p, 0);
}

static process *check_process(lua_State *L)
{
    return luaL_checkudata(L, 1, PROCESS_TYPE);
}

/* handle:close(): ends the whole tree. */
static int process_close(lua_State *L)
{
    process *p = check_process(L);

    if (p->pid > 0)
        end_tree(p);
    p->pid = -1;
    close_all(p->stream, 3);
    close_all(&p->pidfd, 1);
    return 0;
}

/* handle:kill(signal): to the process alone; true, or false if it is gone already. */
static int process_kill(lua_State *L)
{
    process *p = check_process(L);
    int signal = (int)luaL_optinteger(L, 2, SIGTERM);

    reap(p, WNOHANG);
    lua_pushboolean(L, !p->reaped && kill(p->pid, signal) == 0);
    return 1;
}

/* handle:wait(timeout) -> "exit", status | "signal", number | nil, "timeout" */
static int process_wait(lua_State *L)
{
    process *p = check_process(L);
    double deadline = mssh_testing_deadline(L, 2);

    if (!p->reaped && p->pidfd >= 0 && mssh_testing_wait_fd(p->pidfd, POLLIN, deadline))
        reap(p, 0);
    if (!p->reaped) {
        lua_pushnil(L);
        lua_pushliteral(L, "timeout");
    } else if (WIFEXITED(p->status)) {
        lua_pushliteral(L, "exit");
        lua_pushinteger(L, WEXITSTATUS(p->status));
    } else {
        lua_pushliteral(L, "signal");
        lua_pushinteger(L, WTERMSIG(p->status));
    }
    return 2;
}

static int process_pid(lua_State *L)
{
    lua_pushinteger(L, check_process(L)->pid);
    return 1;
}

/* --- talking to it --- */

/* handle:read(stream, timeout) -> what is there | "" at the end | nil, message ("timeout") */
static int process_read(lua_State *L)
{
    process *p = check_process(L);
    int stream = luaL_checkoption(L, 2, "stdout", (const char *const[]){"stdin", "stdout", "stderr", NULL});
    double deadline = mssh_testing_deadline(L, 3);
    char bytes[16384];

    luaL_argcheck(L, stream > 0 && p->stream[stream] >= 0, 2, "is not a pipe that can be read");
    if (!mssh_testing_wait_fd(p->stream[stream], POLLIN, deadline)) {
        lua_pushnil(L);
        lua_pushliteral(L, "timeout");
        return 2;
    }
    ssize_t n = read(p->stream[stream], bytes, sizeof bytes);
    if (n < 0)
        return push_errno(L, "read");
    lua_pushlstring(L, bytes, (size_t)n);
    return 1;
}

/* handle:write(data) -> true | nil, message. Waits until all is taken. */
static int process_write(lua_State *L)
{
    process *p = check_process(L);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);

    luaL_argcheck(L, p->stream[0] >= 0, 1, "has no open pipe as stdin");
    while (len > 0) {
        ssize_t n = send(p->stream[0], data, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return push_errno(L, "write");
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* handle:close_stdin(): the process reads end of file. */
static int process_close_stdin(lua_State *L)
{
    close_all(&check_process(L)->stream[0], 1);
    return 0;
}

/* --- the rest --- */

/* process.now() -> seconds on the monotonic clock */
static int process_now(lua_State *L)
{
    lua_pushnumber(L, mssh_testing_now());
    return 1;
}

/* process.sleep(seconds) */
static int process_sleep(lua_State *L)
{
    poll(NULL, 0, (int)(luaL_checknumber(L, 1) * 1000));
    return 0;
}

/* process.mkdtemp(template) -> path | nil, message. The template ends in XXXXXX. */
static int process_mkdtemp(lua_State *L)
{
    size_t len;
    const char *template = luaL_checklstring(L, 1, &len);
    char *path = lua_newuserdatauv(L, len + 1, 0);

    memcpy(path, template, len + 1);
    if (mkdtemp(path) == NULL)
        return push_errno(L, template);
    lua_pushstring(L, path);
    return 1;
}

/* process.environment() -> list of "NAME=value" */
static int process_environment(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; environ[i] != NULL; i++) {
        lua_pushstring(L, environ[i]);
        lua_seti(L, -2, i + 1);
    }
    return 1;
}

/* process.alive(pid): whether there is such a process that has not ended, ours or not */
static int process_alive(lua_State *L)
{
    int fd = pidfd_open((pid_t)luaL_checkinteger(L, 1), 0);

    lua_pushboolean(L, fd >= 0 && !mssh_testing_wait_fd(fd, POLLIN, 0));
    close_all(&fd, 1);
    return 1;
}

/* process.pid() and process.uid(), of the spec's own process */
static int own_pid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}

static int own_uid(lua_State *L)
{
    lua_pushinteger(L, getuid());
    return 1;
}

static const luaL_Reg methods[] = {
    {"close", process_close}, {"close_stdin", process_close_stdin},
    {"kill", process_kill},   {"pid", process_pid},
    {"read", process_read},   {"wait", process_wait},
    {"write", process_write}, {NULL, NULL},
};

static const luaL_Reg functions[] = {
    {"alive", process_alive},
    {"environment", process_environment},
    {"mkdtemp", process_mkdtemp},
    {"now", process_now},
    {"pid", own_pid},
    {"sleep", process_sleep},
    {"spawn", process_spawn},
    {"uid", own_uid},
    {NULL, NULL},
};

int mssh_testing_open_process(lua_State *L)
{
    if (luaL_newmetatable(L, PROCESS_TYPE)) {
        lua_pushcfunction(L, process_close);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, process_close);
        lua_setfield(L, -2, "__close");
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
