/*
 * A long path: relays TCP connections and holds back what goes either way for a while, without a limit of its
 * own on how much is under way.
 *
 *    delay TO_PORT MILLISECONDS        listens on a free port of 127.0.0.1, prints it, relays to TO_PORT
 * there; MILLISECONDS is what each direction takes
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, CHUNKS_MOST = 1024 };

typedef struct chunk {
    struct chunk *next;
    int64_t due; /* in microseconds */
    size_t len;
    size_t sent;
    char bytes[CHUNK];
} chunk;

typedef struct way {
    int from;
    int to;
    chunk *first;
    chunk *last;
    int n_chunks;
    bool ended; /* no more comes */
} way;

static int64_t delay;
static chunk *spare;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static struct sockaddr_in address_of(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void prepare(int fd)
{
    const int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl");
}

static void take(way *w)
{
    chunk *c = spare != NULL ? spare : malloc(sizeof *c);
    ssize_t n;

    if (c == NULL)
        die("malloc");
    spare = NULL;
    n = read(w->from, c->bytes, CHUNK);
    if (n <= 0) {
        spare = c;
        w->ended = n == 0 || errno != EAGAIN;
        return;
    }
    c->next = NULL;
    c->due = now() + delay;
    c->len = (size_t)n;
    c->sent = 0;
    if (w->first == NULL)
        w->first = c;
    else
        w->last->next = c;
    w->last = c;
    w->n_chunks++;
}

static void give(way *w)
{
    while (w->first != NULL && w->first->due <= now()) {
        chunk *c = w->first;
        ssize_t n = write(w->to, c->bytes + c->sent, c->len - c->sent);
        if (n < 0 && errno != EAGAIN)
            exit(0);
        if (n < 0)
            return;
        c->sent += (size_t)n;
        if (c->sent < c->len)
            return;
        w->first = c->next;
        w->n_chunks--;
        if (spare == NULL)
            spare = c;
        else
            free(c);
    }
    if (w->ended && w->first == NULL)
        (void)shutdown(w->to, SHUT_WR);
}

/* Until the next chunk is due, in milliseconds, rounded up; -1: there is none. */
static int64_t wait_for(const way *w, short *events)
{
    int64_t left;

    if (w->first == NULL)
        return -1;
    left = w->first->due - now();
    if (left <= 0) {
        *events |= POLLOUT;
        return -1;
    }
    return left;
}

static void relay(int a, int b)
{
    way ways[2] = {{.from = a, .to = b}, {.from = b, .to = a}};

    prepare(a);
    prepare(b);
    while (!(ways[0].ended && ways[0].first == NULL && ways[1].ended && ways[1].first == NULL)) {
        struct pollfd fds[2] = {{.fd = a}, {.fd = b}};
        struct timespec timeout = {0};
        int64_t least = -1;
        for (int i = 0; i < 2; i++) {
            int64_t left = wait_for(&ways[i], &fds[1 - i].events);
            if (left >= 0 && (least < 0 || left < least))
                least = left;
            if (!ways[i].ended && ways[i].n_chunks < CHUNKS_MOST)
                fds[i].events |= POLLIN;
        }
        timeout.tv_nsec = least * 1000;
        if (ppoll(fds, 2, least >= 0 ? &timeout : NULL, NULL) < 0 && errno != EINTR)
            die("poll");
        for (int i = 0; i < 2; i++) {
            if ((fds[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !ways[i].ended)
                take(&ways[i]);
            give(&ways[i]);
        }
    }
    exit(0);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = address_of(0), target;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    if (argc != 3)
        return 2;
    delay = strtol(argv[2], NULL, 10) * 1000;
    target = address_of((int)strtol(argv[1], NULL, 10));
    if (bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, 100) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0)
        die("listen");
    (void)printf("%d\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        int server = socket(AF_INET, SOCK_STREAM, 0);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (client < 0 || server < 0 || connect(server, (struct sockaddr *)&target, sizeof target) != 0)
            die("connect");
        if (fork() == 0)
            relay(client, server);
        (void)close(client);
        (void)close(server);
    }
}
