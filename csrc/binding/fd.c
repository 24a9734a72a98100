#include "binding/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Whether a pipe or terminal can be read or written now. Its own O_NONBLOCK is not relied on: the flag
 * belongs to the open file, which other processes may share and reset. */
static int ready_for(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    int n;

    do
        n = poll(&entry, 1, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return n > 0 ? 0 : -EAGAIN;
}

static ssize_t write_once(int fd, const void *bytes, size_t len)
{
    ssize_t n;

    do
        n = write(fd, bytes, len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* There is no MSG_NOSIGNAL for write: SIGPIPE is held back for this thread, and one that this write has
 * raised is taken away again. One that was pending before stays. */
static ssize_t write_without_sigpipe(int fd, const void *bytes, size_t len)
{
    const struct timespec at_once = {0};
    sigset_t pipe_set, old_set, pending;
    bool was_pending;
    ssize_t n;

    (void)sigemptyset(&pipe_set);
    (void)sigaddset(&pipe_set, SIGPIPE);
    (void)sigemptyset(&pending);
    (void)sigpending(&pending);
    was_pending = sigismember(&pending, SIGPIPE) == 1;
    if (pthread_sigmask(SIG_BLOCK, &pipe_set, &old_set) != 0)
        return -EIO;
    n = write_once(fd, bytes, len);
    if (n == -EPIPE && !was_pending) {
        while (sigtimedwait(&pipe_set, NULL, &at_once) < 0 && errno == EINTR)
            ;
    }
    (void)pthread_sigmask(SIG_SETMASK, &old_set, NULL);
    return n;
}

/* poll promises room for PIPE_BUF bytes in a pipe; more could wait when the descriptor is a blocking one. */
static ssize_t send_to_other(int fd, const void *bytes, size_t len)
{
    int status = ready_for(fd, POLLOUT);
    int flags;

    if (status != 0)
        return status;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    if ((flags & O_NONBLOCK) == 0 && len > PIPE_BUF)
        len = PIPE_BUF;
    return write_without_sigpipe(fd, bytes, len);
}

ssize_t mssh_fd_send(int fd, const void *bytes, size_t len)
{
    ssize_t n;

    do
        n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == ENOTSOCK)
        return send_to_other(fd, bytes, len);
    return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static ssize_t recv_from_other(int fd, void *bytes, size_t len)
{
    int status = ready_for(fd, POLLIN);
    ssize_t n;

    if (status != 0)
        return status;
    do
        n = read(fd, bytes, len);
    while (n < 0 && errno == EINTR);
    /* A terminal whose other side is gone gives EIO where a pipe gives its end. */
    if (n < 0 && errno == EIO && isatty(fd))
        return 0;
    return n < 0 ? -errno : n;
}

ssize_t mssh_fd_recv(int fd, void *bytes, size_t len)
{
    ssize_t n;

    do
        n = recv(fd, bytes, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == ENOTSOCK)
        return recv_from_other(fd, bytes, len);
    return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

uint64_t mssh_fd_now(void)
{
    struct timespec time = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail for this clock */
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

bool mssh_fd_wait(int fd, short events, uint64_t end)
{
    struct pollfd entry = {.fd = fd, .events = events};
    uint64_t now = end == UINT64_MAX ? 0 : mssh_fd_now();
    int timeout = -1;

    if (end != UINT64_MAX)
        timeout = now >= end ? 0 : end - now > INT_MAX ? INT_MAX : (int)(end - now);
    return poll(&entry, 1, timeout) > 0;
}

int mssh_fd_prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    if ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}
