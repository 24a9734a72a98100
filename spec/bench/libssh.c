/*
 * What a program on libssh does in the SFTP benchmark: one file, or many small ones, one after the other.
 *
 *    libssh HOST PORT USER KEY CIPHER get|put REMOTE LOCAL [COUNT]      with COUNT: REMOTE/f1 … and LOCAL/f1
 * …
 */
#include <fcntl.h>
#include <libssh/libssh.h>
#include <libssh/sftp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 32768, AHEAD = 64, PATH_LEN = 4096 };

static char block[BLOCK];

static void check(int ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "libssh: %s failed\n", what);
        exit(1);
    }
}

/* As its documentation shows to be fastest: a row of asynchronous reads. */
static void get(sftp_session sftp, const char *remote, const char *local)
{
    sftp_file file = sftp_open(sftp, remote, O_RDONLY, 0);
    int fd = open(local, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int ids[AHEAD], n = 1;

    check(file != NULL && fd >= 0, "open");
    for (int i = 0; i < AHEAD; i++)
        ids[i] = sftp_async_read_begin(file, BLOCK);
    for (int i = 0; n > 0; i = (i + 1) % AHEAD) {
        n = sftp_async_read(file, block, BLOCK, (uint32_t)ids[i]);
        check(n >= 0 && write(fd, block, (size_t)n) == n, "read");
        ids[i] = n > 0 ? sftp_async_read_begin(file, BLOCK) : 0;
    }
    (void)close(fd);
    (void)sftp_close(file);
}

static void get_small(sftp_session sftp, const char *remote, const char *local)
{
    sftp_file file = sftp_open(sftp, remote, O_RDONLY, 0);
    int fd = open(local, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t n;

    check(file != NULL && fd >= 0, "open");
    while ((n = sftp_read(file, block, BLOCK)) > 0)
        check(write(fd, block, (size_t)n) == n, "write");
    check(n == 0, "read");
    (void)close(fd);
    (void)sftp_close(file);
}

static void put(sftp_session sftp, const char *remote, const char *local)
{
    sftp_file file = sftp_open(sftp, remote, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int fd = open(local, O_RDONLY);
    ssize_t n;

    check(file != NULL && fd >= 0, "open");
    while ((n = read(fd, block, BLOCK)) > 0)
        check(sftp_write(file, block, (size_t)n) == n, "write");
    (void)close(fd);
    (void)sftp_close(file);
}

static ssh_session login(char **argv)
{
    ssh_session session = ssh_new();
    ssh_key key = NULL;
    int port = (int)strtol(argv[2], NULL, 10);
    int nodelay = 1; /* else each write waits for a delayed acknowledgement */

    check(session != NULL, "ssh_new");
    (void)ssh_options_set(session, SSH_OPTIONS_HOST, argv[1]);
    (void)ssh_options_set(session, SSH_OPTIONS_PORT, &port);
    (void)ssh_options_set(session, SSH_OPTIONS_NODELAY, &nodelay);
    (void)ssh_options_set(session, SSH_OPTIONS_USER, argv[3]);
    (void)ssh_options_set(session, SSH_OPTIONS_CIPHERS_C_S, argv[5]);
    (void)ssh_options_set(session, SSH_OPTIONS_CIPHERS_S_C, argv[5]);
    check(ssh_connect(session) == SSH_OK, "connect");
    check(ssh_pki_import_privkey_file(argv[4], NULL, NULL, NULL, &key) == SSH_OK, "key");
    check(ssh_userauth_publickey(session, NULL, key) == SSH_AUTH_SUCCESS, "login");
    return session;
}

int main(int argc, char **argv)
{
    ssh_session session;
    sftp_session sftp;
    int is_get, count;

    check(argc >= 9, "usage");
    session = login(argv);
    sftp = sftp_new(session);
    check(sftp != NULL && sftp_init(sftp) == SSH_OK, "sftp");
    is_get = strcmp(argv[6], "get") == 0;
    count = argc > 9 ? (int)strtol(argv[9], NULL, 10) : 0;
    if (count == 0)
        (is_get ? get : put)(sftp, argv[7], argv[8]);
    for (int i = 1; i <= count; i++) {
        char remote[PATH_LEN], local[PATH_LEN];
        (void)snprintf(remote, sizeof remote, "%s/f%d", argv[7], i);
        (void)snprintf(local, sizeof local, "%s/f%d", argv[8], i);
        (is_get ? get_small : put)(sftp, remote, local);
    }
    sftp_free(sftp);
    ssh_disconnect(session);
    ssh_free(session);
    return 0;
}
