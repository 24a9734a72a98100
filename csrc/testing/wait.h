/*
 * What the parts that deal with the operating system share: waiting with a deadline, and ending process
 * trees.
 */
#ifndef MSSH_TESTING_WAIT_H
#define MSSH_TESTING_WAIT_H

#include <lua.h>
#include <sys/types.h>

/* Seconds on the monotonic clock. */
double mssh_testing_now(void);

/* The deadline for the optional timeout in seconds at a stack index: a time of the monotonic clock, negative
 * where there is none. */
double mssh_testing_deadline(lua_State *L, int index);

/* Waits until poll reports one of `events` on a descriptor. 1, or 0 when the deadline passed. */
int mssh_testing_wait_fd(int fd, short events, double deadline);

/* Sends SIGKILL to a process and to all that descend from it. */
void mssh_testing_kill_tree(pid_t root);

#endif
