/*
 * Plain sockets for the specs, as descriptor numbers: to look for a server that has come up, to play a server
 * that says nothing, and to hand a session an open descriptor. They block, with a timeout where one is given.
 */
#include "testing/testing.h"
#include "testing/wait.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } u;
    socklen_t len;
} address;

static int push_failure(lua_State *L, int code)
{
    lua_pushnil(L);
    lua_pushstring(L, strerror(code));
    return 2;
}

static int push_timeout(lua_State *L)
{
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    return 2;
}

/* From "127.0.0.1" or "::1" and a port, or the path of a Unix socket, which begins with a slash. */
static address check_address(lua_State *L, int index)
{
    const char *host = luaL_checkstring(L, index);
    address a = {.len = 0};

    if (host[0] == '/') {
        luaL_argcheck(L, strlen(host) < sizeof a.u.local.sun_path, index, "path too long for a socket");
        a.u.local.sun_family = AF_UNIX;
        memcpy(a.u.local.sun_path, host, strlen(host) + 1);
        a.len = sizeof a.u.local;
        return a;
    }
    uint16_t port = htons((uint16_t)luaL_checkinteger(L, index + 1));
    if (inet_pton(AF_INET, host, &a.u.v4.sin_addr) == 1) {
        a.u.v4.sin_family = AF_INET;
        a.u.v4.sin_port = port;
        a.len = sizeof a.u.v4;
    } else if (inet_pton(AF_INET6, host, &a.u.v6.sin6_addr) == 1) {
        a.u.v6.sin6_family = AF_INET6;
        a.u.v6.sin6_port = port;
        a.len = sizeof a.u.v6;
    } else {
        luaL_argerror(L, index, "neither an address nor a path");
    }
    return a;
}

/* socket.listen(host, port, backlog) -> fd, port | nil, message. Port 0 takes a free one. */
static int socket_listen(lua_State *L)
{
    address a = check_address(L, 1);
    int backlog = (int)luaL_optinteger(L, 3, 128);
    int fd = socket(a.u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return push_failure(L, errno);
    if (bind(fd, &a.u.any, a.len) != 0 || listen(fd, backlog) != 0 ||
        getsockname(fd, &a.u.any, &a.len) != 0) {
        int code = errno;
        close(fd);
        return push_failure(L, code);
    }
    lua_pushinteger(L, fd);
    if (a.u.any.sa_family == AF_UNIX)
        return 1;
    lua_pushinteger(L, ntohs(a.u.any.sa_family == AF_INET ? a.u.v4.sin_port : a.u.v6.sin6_port));
    return 2;
}

/* socket.accept(fd, timeout) -> fd | nil, message */
static int socket_accept(lua_State *L)
{
    int listener = (int)luaL_checkinteger(L, 1);

    if (!mssh_testing_wait_fd(listener, POLLIN, mssh_testing_deadline(L, 2)))
        return push_timeout(L);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return push_failure(L, errno);
    lua_pushinteger(L, fd);
    return 1;
}

/* socket.connect(host, port) or socket.connect(path) -> fd | nil, message. For this machine only: it waits.
 */
static int socket_connect(lua_State *L)
{
    address a = check_address(L, 1);
    int fd = socket(a.u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return push_failure(L, errno);
    if (connect(fd, &a.u.any, a.len) != 0) {
        int code = errno;
        close(fd);
        return push_failure(L, code);
    }
    lua_pushinteger(L, fd);
    return 1;
}

/* socket.pair() -> fd, fd */
static int socket_pair(lua_State *L)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return push_failure(L, errno);
    lua_pushinteger(L, fds[0]);
    lua_pushinteger(L, fds[1]);
    return 2;
}

/* socket.read(fd, max, timeout) -> 1 to max bytes | "" at the end | nil, message */
static int socket_read(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    lua_Integer max = luaL_checkinteger(L, 2);
    luaL_Buffer buffer;

    luaL_argcheck(L, max > 0, 2, "must be positive");
    if (!mssh_testing_wait_fd(fd, POLLIN, mssh_testing_deadline(L, 3)))
        return push_timeout(L);
    char *place = luaL_buffinitsize(L, &buffer, (size_t)max);
    ssize_t n = recv(fd, place, (size_t)max, 0);
    if (n < 0)
        return push_failure(L, errno);
    luaL_pushresultsize(&buffer, (size_t)n);
    return 1;
}

/* socket.write(fd, data, timeout) -> true | nil, message */
static int socket_write(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    double deadline = mssh_testing_deadline(L, 3);

    while (len > 0) {
        if (!mssh_testing_wait_fd(fd, POLLOUT, deadline))
            return push_timeout(L);
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return push_failure(L, errno);
        data += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* socket.shutdown(fd): no more is written; the peer reads end of file. */
static int socket_shutdown(lua_State *L)
{
    lua_pushboolean(L, shutdown((int)luaL_checkinteger(L, 1), SHUT_WR) == 0);
    return 1;
}

/* socket.reset(fd): closes it so that the peer gets a reset instead of an end of file. */
static int socket_reset(lua_State *L)
{
    int fd = (int)luaL_checkinteger(L, 1);
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    lua_pushboolean(L, close(fd) == 0);
    return 1;
}

static int socket_close(lua_State *L)
{
    lua_pushboolean(L, close((int)luaL_checkinteger(L, 1)) == 0);
    return 1;
}

static const luaL_Reg functions[] = {
    {"accept", socket_accept},     {"close", socket_close},
    {"connect", socket_connect},   {"listen", socket_listen},
    {"pair", socket_pair},         {"read", socket_read},
    {"reset", socket_reset},       {"write", socket_write},
    {"shutdown", socket_shutdown}, {NULL, NULL},
};

int mssh_testing_open_socket(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
