/*
 * What a program on libssh2 does in the SFTP benchmark: one file, or many small ones, one after the other.
 *
 *    libssh2 HOST PORT USER KEY CIPHER get|put REMOTE LOCAL [COUNT]     with COUNT: REMOTE/f1 … and LOCAL/f1
 * …
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <libssh2.h>
#include <libssh2_sftp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK = 1024 * 1024, PATH_LEN = 4096 };

static char block[BLOCK];

static void check(int ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "libssh2: %s failed\n", what);
        exit(1);
    }
}

static LIBSSH2_SFTP_HANDLE *open_remote(LIBSSH2_SFTP *sftp, const char *path, unsigned long flags)
{
    return libssh2_sftp_open_ex(sftp, path, (unsigned)strlen(path), flags, 0644, LIBSSH2_SFTP_OPENFILE);
}

static void get(LIBSSH2_SFTP *sftp, const char *remote, const char *local)
{
    LIBSSH2_SFTP_HANDLE *file = open_remote(sftp, remote, LIBSSH2_FXF_READ);
    int fd = open(local, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t n;

    check(file != NULL && fd >= 0, "open");
    while ((n = libssh2_sftp_read(file, block, BLOCK)) > 0)
        check(write(fd, block, (size_t)n) == n, "write");
    check(n == 0, "read");
    (void)close(fd);
    (void)libssh2_sftp_close(file);
}

static void put(LIBSSH2_SFTP *sftp, const char *remote, const char *local)
{
    const unsigned long flags = LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_TRUNC;
    LIBSSH2_SFTP_HANDLE *file = open_remote(sftp, remote, flags);
    int fd = open(local, O_RDONLY);
    ssize_t n;

    check(file != NULL && fd >= 0, "open");
    while ((n = read(fd, block, BLOCK)) > 0) {
        for (ssize_t sent = 0; sent < n;) {
            ssize_t more = libssh2_sftp_write(file, block + sent, (size_t)(n - sent));
            check(more > 0, "write");
            sent += more;
        }
    }
    (void)close(fd);
    (void)libssh2_sftp_close(file);
}

static int dial(char **argv)
{
    const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_port = htons((uint16_t)strtol(argv[2], NULL, 10));
    check(inet_pton(AF_INET, argv[1], &address.sin_addr) == 1, "address");
    check(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int main(int argc, char **argv)
{
    LIBSSH2_SESSION *session;
    LIBSSH2_SFTP *sftp;
    char public_key[PATH_LEN];
    int is_get, count;

    check(argc >= 9 && libssh2_init(0) == 0, "usage");
    session = libssh2_session_init();
    check(session != NULL, "session");
    check(libssh2_session_method_pref(session, LIBSSH2_METHOD_CRYPT_CS, argv[5]) == 0, "cipher");
    check(libssh2_session_method_pref(session, LIBSSH2_METHOD_CRYPT_SC, argv[5]) == 0, "cipher");
    check(libssh2_session_handshake(session, dial(argv)) == 0, "handshake");
    (void)snprintf(public_key, sizeof public_key, "%s.pub", argv[4]);
    check(libssh2_userauth_publickey_fromfile(session, argv[3], public_key, argv[4], NULL) == 0, "login");
    sftp = libssh2_sftp_init(session);
    check(sftp != NULL, "sftp");
    is_get = strcmp(argv[6], "get") == 0;
    count = argc > 9 ? (int)strtol(argv[9], NULL, 10) : 0;
    if (count == 0)
        (is_get ? get : put)(sftp, argv[7], argv[8]);
    for (int i = 1; i <= count; i++) {
        char remote[PATH_LEN], local[PATH_LEN];
        (void)snprintf(remote, sizeof remote, "%s/f%d", argv[7], i);
        (void)snprintf(local, sizeof local, "%s/f%d", argv[8], i);
        (is_get ? get : put)(sftp, remote, local);
    }
    (void)libssh2_sftp_shutdown(sftp);
    (void)libssh2_session_disconnect(session, "");
    (void)libssh2_session_free(session);
    return 0;
}
