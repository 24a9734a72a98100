/*
 * Reading and writing descriptors without ever waiting and without SIGPIPE: sockets, and pipes and terminals
 * too, whatever their flags. No Lua in here.
 */
#ifndef MSSH_BINDING_FD_H
#define MSSH_BINDING_FD_H

#include <stddef.h>
#include <sys/types.h>

/* Sends up to `len` bytes: how many were taken, or a negated errno (-EAGAIN: later). A signal in between does
 * not show. */
ssize_t mssh_fd_send(int fd, const void *bytes, size_t len);

/* Receives up to `len` bytes: how many, 0 at the end of the stream, or a negated errno. */
ssize_t mssh_fd_recv(int fd, void *bytes, size_t len);

/* Makes a descriptor non-blocking. 0 or a negated errno. */
int mssh_fd_prepare(int fd);

#endif
