/* core.socket: stream sockets that never wait. A descriptor is a plain integer here; who has it closes it. */
#include "binding/socket.h"
#include "binding/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { RECV_STANDARD = 64 * 1024, RECV_MOST = 256 * 1024 };

static const char *code_of(int number)
{
    return number == ECONNREFUSED ? "refused" : "io";
}

socklen_t mssh_lua_check_address(lua_State *L, int arg, mssh_lua_address *out)
{
    size_t len = 0;
    const char *bytes;
    bool fits;

    luaL_checktype(L, arg, LUA_TTABLE);
    luaL_argcheck(L, lua_getfield(L, arg, "sockaddr") == LUA_TSTRING, arg, "not an address");
    bytes = lua_tolstring(L, -1, &len);
    memset(out, 0, sizeof *out);
    if (len <= sizeof *out)
        memcpy(out, bytes, len);
    lua_pop(L, 1);
    fits = (len == sizeof out->inet && out->any.sa_family == AF_INET) ||
           (len == sizeof out->inet6 && out->any.sa_family == AF_INET6);
    luaL_argcheck(L, fits, arg, "not an address");
    return (socklen_t)len;
}

/* The address to bind to, given like the one to connect to or as a numeric text. False for a text that is
 * none of that family. */
static bool bind_address_of(lua_State *L, int arg, int family, mssh_lua_address *out, socklen_t *len)
{
    const char *text;

    if (lua_type(L, arg) == LUA_TTABLE) {
        *len = mssh_lua_check_address(L, arg, out);
        return out->any.sa_family == family;
    }
    text = mssh_lua_check_text(L, arg);
    memset(out, 0, sizeof *out);
    out->any.sa_family = (sa_family_t)family;
    *len = family == AF_INET ? sizeof out->inet : sizeof out->inet6;
    return inet_pton(family, text,
                     family == AF_INET ? (void *)&out->inet.sin_addr : (void *)&out->inet6.sin6_addr) == 1;
}

static int give_up(lua_State *L, int fd, int number)
{
    (void)close(fd);
    return mssh_lua_push_errno(L, code_of(number), number);
}

static int socket_connect(lua_State *L)
{
    const int on = 1;
    mssh_lua_address remote, local;
    socklen_t remote_len = mssh_lua_check_address(L, 1, &remote);
    socklen_t local_len = 0;
    int fd;
    bool pending;

    if (!lua_isnoneornil(L, 2) && !bind_address_of(L, 2, remote.any.sa_family, &local, &local_len))
        return mssh_lua_push_errno(L, "io", EAFNOSUPPORT);
    fd = socket(remote.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return mssh_lua_push_errno(L, "io", errno);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* speed only */
    if (local_len > 0 && bind(fd, &local.any, local_len) != 0)
        return give_up(L, fd, errno);
    pending = connect(fd, &remote.any, remote_len) != 0;
    if (pending && errno != EINPROGRESS && errno != EINTR)
        return give_up(L, fd, errno);
    lua_pushinteger(L, fd);
    lua_pushboolean(L, pending);
    return 2;
}

static int socket_finish(lua_State *L)
{
    int fd = mssh_lua_check_fd(L, 1);
    int number = 0;
    socklen_t len = sizeof number;
    mssh_lua_address peer;
    socklen_t peer_len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &len) != 0)
        return mssh_lua_push_errno(L, "io", errno);
    if (number == 0 && getpeername(fd, &peer.any, &peer_len) != 0)
        number = errno == ENOTCONN ? EINPROGRESS : errno;
    if (number != 0)
        return mssh_lua_push_errno(L, code_of(number), number);
    lua_pushboolean(L, 1);
    return 1;
}

static int socket_unix(lua_State *L)
{
    mssh_slice path = mssh_lua_check_slice(L, 1);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    bool is_abstract = path.len > 0 && (path.data[0] == '\0' || path.data[0] == '@');
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + (is_abstract ? 0 : 1));
    int fd;

    luaL_argcheck(L, path.len > 0, 1, "empty path");
    luaL_argcheck(L, is_abstract || memchr(path.data, '\0', path.len) == NULL, 1, "string contains zeros");
    if (path.len > sizeof name.sun_path - (is_abstract ? 0 : 1))
        return mssh_lua_push_errno(L, "io", ENAMETOOLONG);
    memcpy(name.sun_path, path.data, path.len);
    if (is_abstract)
        name.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return mssh_lua_push_errno(L, "io", errno);
    /* Local connects do not take time: they succeed, or fail with EAGAIN when the backlog is full. */
    if (connect(fd, (const struct sockaddr *)&name, len) != 0)
        return give_up(L, fd, errno);
    lua_pushinteger(L, fd);
    return 1;
}

/* `first` and `last` are as in string.sub. */
static mssh_slice part_of(lua_State *L, int arg, mssh_slice data)
{
    lua_Integer len = (lua_Integer)data.len;
    lua_Integer first = luaL_optinteger(L, arg, 1);
    lua_Integer last = luaL_optinteger(L, arg + 1, -1);

    if (first < 0)
        first = first < -len ? 1 : len + first + 1;
    else if (first == 0)
        first = 1;
    if (last < 0)
        last = last < -len ? 0 : len + last + 1;
    else if (last > len)
        last = len;
    if (first > last)
        return MSSH_SLICE_EMPTY;
    return mssh_slice_of(data.data + first - 1, (size_t)(last - first + 1));
}

static int socket_send(lua_State *L)
{
    int fd = mssh_lua_check_fd(L, 1);
    mssh_slice part = part_of(L, 3, mssh_lua_check_slice(L, 2));
    ssize_t n = part.len > 0 ? mssh_fd_send(fd, part.data, part.len) : 0;

    if (n < 0)
        return mssh_lua_push_errno(L, "io", (int)-n);
    lua_pushinteger(L, n);
    return 1;
}

static int socket_recv(lua_State *L)
{
    int fd = mssh_lua_check_fd(L, 1);
    lua_Integer max = mssh_lua_opt_range(L, 2, RECV_STANDARD, 1, LUA_MAXINTEGER);
    size_t room = (size_t)(max < RECV_MOST ? max : RECV_MOST);
    luaL_Buffer out;
    char *place = luaL_buffinitsize(L, &out, room);
    ssize_t n = mssh_fd_recv(fd, place, room);

    if (n < 0)
        return mssh_lua_push_errno(L, "io", (int)-n);
    luaL_pushresultsize(&out, (size_t)n);
    return 1;
}

static int socket_pair(lua_State *L)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        return mssh_lua_push_errno(L, "io", errno);
    lua_pushinteger(L, pair[0]);
    lua_pushinteger(L, pair[1]);
    return 2;
}

static int socket_shutdown(lua_State *L)
{
    if (shutdown(mssh_lua_check_fd(L, 1), SHUT_WR) != 0)
        return mssh_lua_push_errno(L, "io", errno);
    lua_pushboolean(L, 1);
    return 1;
}

/* The descriptor is gone whatever close says: after EINTR another thread may have it already. */
static int socket_close(lua_State *L)
{
    if (close(mssh_lua_check_fd(L, 1)) != 0 && errno != EINTR)
        return mssh_lua_push_errno(L, "io", errno);
    lua_pushboolean(L, 1);
    return 1;
}

static int socket_prepare(lua_State *L)
{
    int status = mssh_fd_prepare(mssh_lua_check_fd(L, 1));

    if (status != 0)
        return mssh_lua_push_errno(L, "io", -status);
    lua_pushboolean(L, 1);
    return 1;
}

static const luaL_Reg functions[] = {
    {"connect", socket_connect},   {"finish", socket_finish},
    {"unix", socket_unix},         {"send", socket_send},
    {"recv", socket_recv},         {"pair", socket_pair},
    {"shutdown", socket_shutdown}, {"close", socket_close},
    {"prepare", socket_prepare},   {NULL, NULL},
};

void mssh_lua_open_socket(lua_State *L)
{
    luaL_newlib(L, functions);
    luaL_setfuncs(L, mssh_lua_listen_functions, 0);
    lua_setfield(L, -2, "socket");
}
