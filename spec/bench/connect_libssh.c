/*
 * What a program on libssh does in the benchmark of connecting: known_hosts, curve25519, a key, `true`, and
 * again. Prints the CPU milliseconds of one round, user and system, after a first one.
 *
 *    connect_libssh HOST PORT USER KEY KNOWN_HOSTS ROUNDS
 */
#include <libssh/libssh.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static void check(int ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "libssh: %s failed\n", what);
        exit(1);
    }
}

static double cpu_ms(void)
{
    struct rusage used;

    (void)getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
}

static void connect_once(char **argv)
{
    int port = atoi(argv[2]), no = 0;
    char byte;
    ssh_session session = ssh_new();
    ssh_channel channel;
    ssh_key key;

    (void)ssh_options_set(session, SSH_OPTIONS_HOST, argv[1]);
    (void)ssh_options_set(session, SSH_OPTIONS_PORT, &port);
    (void)ssh_options_set(session, SSH_OPTIONS_USER, argv[3]);
    (void)ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, argv[5]);
    (void)ssh_options_set(session, SSH_OPTIONS_KEY_EXCHANGE, "curve25519-sha256");
    (void)ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no);
    check(ssh_connect(session) == SSH_OK, "connect");
    check(ssh_session_is_known_server(session) == SSH_KNOWN_HOSTS_OK, "the host key");
    check(ssh_pki_import_privkey_file(argv[4], NULL, NULL, NULL, &key) == SSH_OK, "the key");
    check(ssh_userauth_publickey(session, NULL, key) == SSH_AUTH_SUCCESS, "login");
    channel = ssh_channel_new(session);
    check(ssh_channel_open_session(channel) == SSH_OK, "a channel");
    check(ssh_channel_request_exec(channel, "true") == SSH_OK, "exec");
    while (ssh_channel_read(channel, &byte, 1, 0) > 0)
        ;
    check(ssh_channel_get_exit_status(channel) == 0, "the command");
    (void)ssh_channel_close(channel);
    ssh_channel_free(channel);
    ssh_key_free(key);
    ssh_disconnect(session);
    ssh_free(session);
}

int main(int argc, char **argv)
{
    int rounds = argc == 7 ? atoi(argv[6]) : 0;
    double before;

    check(rounds > 0, "reading the arguments");
    connect_once(argv);
    before = cpu_ms();
    for (int i = 0; i < rounds; i++)
        connect_once(argv);
    (void)printf("%.3f\n", (cpu_ms() - before) / rounds);
    return 0;
}
