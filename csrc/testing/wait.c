#include "testing/wait.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <time.h>

double mssh_testing_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

double mssh_testing_deadline(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? -1 : mssh_testing_now() + luaL_checknumber(L, index);
}

int mssh_testing_wait_fd(int fd, short events, double deadline)
{
    for (;;) {
        struct pollfd item = {.fd = fd, .events = events};
        double left = deadline < 0 ? -1 : deadline - mssh_testing_now();
        int ready = poll(&item, 1, deadline < 0 ? -1 : left <= 0 ? 0 : (int)(left * 1000) + 1);

        if (ready > 0)
            return 1;
        if (ready == 0 && left <= 0 && deadline >= 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return 1; /* let the call that follows say what is wrong */
    }
}
