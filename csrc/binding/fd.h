/*
 * Reading and writing descriptors without waiting and without SIGPIPE: sockets, and pipes and terminals
 * too, whatever their flags. No Lua in here.
 */
#ifndef MSSH_BINDING_FD_H
#define MSSH_BINDING_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Sends up to `len` bytes: how many were taken, or a negated errno (-EAGAIN: later). A signal in between does
 * not show. */
ssize_t mssh_fd_send(int fd, const void *bytes, size_t len);

/* Receives up to `len` bytes: how many, 0 at the end of the stream, or a negated errno. */
ssize_t mssh_fd_recv(int fd, void *bytes, size_t len);

/* Waits until a descriptor may be ready for `events` (as poll takes them), at most until `end`: milliseconds
 * of CLOCK_MONOTONIC, UINT64_MAX for ever. False when the time was up, or a signal came. */
bool mssh_fd_wait(int fd, short events, uint64_t end);

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t mssh_fd_now(void);

/* Makes a descriptor non-blocking. 0 or a negated errno. */
int mssh_fd_prepare(int fd);

#endif
