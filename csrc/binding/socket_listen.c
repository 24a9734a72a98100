/* core.socket.listen, listen_unix and accept: the listening side of local forwarding; and take, for a
 * connection that another process has made. */
#include "binding/fd.h"
#include "binding/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int give_up(lua_State *L, int fd, int number)
{
    (void)close(fd);
    return mssh_lua_push_errno(L, "io", number);
}

static int port_of(const mssh_lua_address *address)
{
    return ntohs(address->any.sa_family == AF_INET ? address->inet.sin_port : address->inet6.sin6_port);
}

static int socket_listen(lua_State *L)
{
    const int on = 1;
    mssh_lua_address address;
    socklen_t len = mssh_lua_check_address(L, 1, &address);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return mssh_lua_push_errno(L, "io", errno);
    /* The port of a program that has just ended is free again at once, and each family is bound by itself. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (address.any.sa_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, &address.any, len) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, &address.any, &len) != 0)
        return give_up(L, fd, errno);
    lua_pushinteger(L, fd);
    lua_pushinteger(L, port_of(&address));
    return 2;
}

static int socket_listen_unix(lua_State *L)
{
    mssh_slice path = mssh_lua_check_slice(L, 1);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd;

    luaL_argcheck(L, path.len > 0, 1, "empty path");
    luaL_argcheck(L, memchr(path.data, '\0', path.len) == NULL, 1, "string contains zeros");
    if (path.len >= sizeof name.sun_path)
        return mssh_lua_push_errno(L, "io", ENAMETOOLONG);
    memcpy(name.sun_path, path.data, path.len);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return mssh_lua_push_errno(L, "io", errno);
    /* The file is made with the mode that the socket has by then, so that it is never anybody else's. */
    if (fchmod(fd, S_IRUSR | S_IWUSR) != 0 || bind(fd, (const struct sockaddr *)&name, sizeof name) != 0)
        return give_up(L, fd, errno);
    if (listen(fd, SOMAXCONN) != 0) {
        int number = errno;
        (void)unlink(name.sun_path);
        return give_up(L, fd, number);
    }
    lua_pushinteger(L, fd);
    return 1;
}

/* Pushes where a connection comes from: host, port; nothing for a Unix socket. */
static int push_origin(lua_State *L, const mssh_lua_address *from)
{
    char text[INET6_ADDRSTRLEN] = "";
    const void *address = from->any.sa_family == AF_INET ? (const void *)&from->inet.sin_addr
                                                         : (const void *)&from->inet6.sin6_addr;

    if ((from->any.sa_family != AF_INET && from->any.sa_family != AF_INET6) ||
        inet_ntop(from->any.sa_family, address, text, sizeof text) == NULL)
        return 0;
    lua_pushstring(L, text);
    lua_pushinteger(L, port_of(from));
    return 2;
}

static int socket_accept(lua_State *L)
{
    const int on = 1;
    int listener = mssh_lua_check_fd(L, 1);
    mssh_lua_address from = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t len = sizeof from;
    int fd;

    do /* one that was gone again before it was taken is not worth telling */
        fd = accept4(listener, &from.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd < 0)
        return mssh_lua_push_errno(L, "io", errno);
    if (from.any.sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* speed only */
    lua_pushinteger(L, fd);
    return 1 + push_origin(L, &from);
}

/* The first descriptor of a message; others that came with it are closed. -1: there is none. */
static int descriptor_in(struct msghdr *message)
{
    int found = -1;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        const unsigned char *at = CMSG_DATA(part);
        size_t n_bytes = part->cmsg_len - CMSG_LEN(0);
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        for (; n_bytes >= sizeof(int); n_bytes -= sizeof(int), at += sizeof(int)) {
            int fd = -1;
            memcpy(&fd, at, sizeof fd);
            if (found < 0)
                found = fd;
            else
                (void)close(fd);
        }
    }
    return found;
}

static int socket_take(lua_State *L)
{
    int from = mssh_lua_check_fd(L, 1);
    union {
        struct cmsghdr aligned;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char byte = 0;
    struct iovec data = {&byte, sizeof byte}; /* as no message is empty */
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room};
    ssize_t n;
    int fd;

    message.msg_controllen = sizeof control.room;
    do
        n = recvmsg(from, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return mssh_lua_push_errno(L, "io", errno);
    fd = descriptor_in(&message);
    if (fd < 0)
        return mssh_lua_push_errno(L, "eof", ECONNRESET);
    lua_pushinteger(L, fd);
    return 1;
}

const luaL_Reg mssh_lua_listen_functions[] = {
    {"listen", socket_listen},
    {"listen_unix", socket_listen_unix},
    {"accept", socket_accept},
    {"take", socket_take},
    {NULL, NULL},
};
