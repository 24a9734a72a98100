/*
 * The floor under a download: what receiving and opening the packets alone costs, with no SSH around it. A
 * child sends the same sealed record of 32 KiB over a loopback TCP connection again and again; the parent
 * receives and opens each with OpenSSL.
 *
 *    floor aes128-gcm|chacha20-poly1305 MEBIBYTES        prints the parent's CPU seconds: user and system
 */
#include <openssl/evp.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT_LEN = 32768, TAG_LEN = 16, RECORD_LEN = TEXT_LEN + TAG_LEN, BUFFER_LEN = 8 * RECORD_LEN };

static const unsigned char key[32] = "the key is of no importance here";
static const unsigned char iv[16];
static unsigned char buffer[BUFFER_LEN];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void expect(int ok, const char *what)
{
    if (ok != 1) {
        (void)fprintf(stderr, "floor: %s failed\n", what);
        exit(1);
    }
}

static void connect_pair(int *reader, int *writer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0)
        die("listen");
    *reader = socket(AF_INET, SOCK_STREAM, 0);
    if (*reader < 0 || connect(*reader, (struct sockaddr *)&address, len) != 0)
        die("connect");
    *writer = accept(listener, NULL, NULL);
    if (*writer < 0)
        die("accept");
    (void)close(listener);
}

static void send_records(int fd, const unsigned char *record, size_t n_records)
{
    static unsigned char out[BUFFER_LEN];

    for (size_t i = 0; i < 8; i++)
        memcpy(out + i * RECORD_LEN, record, RECORD_LEN);
    for (size_t total = n_records * RECORD_LEN, sent = 0; sent < total;) {
        size_t at = sent % RECORD_LEN;
        size_t len = sizeof out - at < total - sent ? sizeof out - at : total - sent;
        ssize_t n = send(fd, out + at, len, MSG_NOSIGNAL);
        if (n < 0)
            die("send");
        sent += (size_t)n;
    }
}

/* The record, opened in place: both ways need what a real packet needs, a new IV, and for ChaCha20 a new
 * one-time key. */
static void open_gcm(EVP_CIPHER_CTX *ctx, unsigned char *record)
{
    int len;

    expect(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, -1), "IV");
    expect(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, record + TEXT_LEN), "tag");
    expect(EVP_DecryptUpdate(ctx, record, &len, record, TEXT_LEN), "decryption");
    expect(EVP_DecryptFinal_ex(ctx, record + len, &len), "verification");
}

static void open_chacha(EVP_CIPHER_CTX *ctx, EVP_MAC_CTX *poly, unsigned char *record)
{
    unsigned char block[64] = {0}, tag[TAG_LEN];
    size_t tag_len;
    int len;

    expect(EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, -1), "IV");
    expect(EVP_CipherUpdate(ctx, block, &len, block, sizeof block), "one-time key");
    expect(EVP_MAC_init(poly, block, 32, NULL), "Poly1305");
    expect(EVP_MAC_update(poly, record, TEXT_LEN), "Poly1305");
    expect(EVP_MAC_final(poly, tag, &tag_len, sizeof tag), "Poly1305");
    expect(memcmp(tag, record + TEXT_LEN, TAG_LEN) == 0, "verification");
    expect(EVP_CipherUpdate(ctx, record, &len, record, TEXT_LEN), "decryption");
}

static void seal(int is_gcm, EVP_MAC_CTX *poly, unsigned char *record)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char block[64] = {0};
    size_t tag_len;
    int len;

    expect(EVP_CipherInit_ex(ctx, is_gcm ? EVP_aes_128_gcm() : EVP_chacha20(), NULL, key, iv, 1), "key");
    if (!is_gcm)
        expect(EVP_CipherUpdate(ctx, block, &len, block, sizeof block), "one-time key");
    expect(EVP_CipherUpdate(ctx, record, &len, record, TEXT_LEN), "encryption");
    if (is_gcm) {
        expect(EVP_CipherFinal_ex(ctx, record + len, &len), "encryption");
        expect(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, record + TEXT_LEN), "tag");
    } else {
        expect(EVP_MAC_init(poly, block, 32, NULL), "Poly1305");
        expect(EVP_MAC_update(poly, record, TEXT_LEN), "Poly1305");
        expect(EVP_MAC_final(poly, record + TEXT_LEN, &tag_len, TAG_LEN), "Poly1305");
    }
    EVP_CIPHER_CTX_free(ctx);
}

static void receive_records(int fd, int is_gcm, EVP_MAC_CTX *poly, size_t n_records)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    size_t held = 0;

    expect(EVP_CipherInit_ex(ctx, is_gcm ? EVP_aes_128_gcm() : EVP_chacha20(), NULL, key, iv, 0), "key");
    while (n_records > 0) {
        size_t at = 0;
        ssize_t n = recv(fd, buffer + held, sizeof buffer - held, 0);
        if (n <= 0)
            die("recv");
        for (held += (size_t)n; held - at >= RECORD_LEN; at += RECORD_LEN, n_records--) {
            if (is_gcm)
                open_gcm(ctx, buffer + at);
            else
                open_chacha(ctx, poly, buffer + at);
        }
        held -= at;
        memmove(buffer, buffer + at, held);
    }
    EVP_CIPHER_CTX_free(ctx);
}

int main(int argc, char **argv)
{
    int is_gcm = argc == 3 && strcmp(argv[1], "aes128-gcm") == 0;
    size_t n_records = argc == 3 ? strtoul(argv[2], NULL, 10) * (1048576 / TEXT_LEN) : 0;
    EVP_MAC_CTX *poly = EVP_MAC_CTX_new(EVP_MAC_fetch(NULL, "POLY1305", NULL));
    static unsigned char record[RECORD_LEN];
    struct rusage start, used;
    int reader, writer;
    pid_t child;

    if (n_records == 0 || (!is_gcm && strcmp(argv[1], "chacha20-poly1305") != 0)) {
        (void)fprintf(stderr, "usage: floor aes128-gcm|chacha20-poly1305 MEBIBYTES\n");
        return 2;
    }
    seal(is_gcm, poly, record);
    connect_pair(&reader, &writer);
    child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        (void)close(reader);
        send_records(writer, record, n_records);
        _exit(0);
    }
    (void)close(writer);
    (void)getrusage(RUSAGE_SELF, &start);
    receive_records(reader, is_gcm, poly, n_records);
    (void)getrusage(RUSAGE_SELF, &used);
    (void)waitpid(child, NULL, 0);
    (void)printf("%.3f %.3f\n",
                 (double)(used.ru_utime.tv_sec - start.ru_utime.tv_sec) +
                     (double)(used.ru_utime.tv_usec - start.ru_utime.tv_usec) / 1e6,
                 (double)(used.ru_stime.tv_sec - start.ru_stime.tv_sec) +
                     (double)(used.ru_stime.tv_usec - start.ru_stime.tv_usec) / 1e6);
    return 0;
}
