/* core.file.lock: one process at a time changes a file that others replace by a new one. */
#include "binding/binding.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct lock {
    mssh_lua_object object;
    int fd;
} lock;

static void lock_release(void *object)
{
    lock *self = object;

    if (self->fd >= 0)
        (void)close(self->fd);
    self->fd = -1;
}

static const mssh_lua_class lock_class = {
    .name = "moonssh.core.lock",
    .tag = 0x6c6f636b,
    .size = sizeof(lock),
    .release = lock_release,
};

/* Whether the descriptor's file is still the one of that name. */
static bool is_current(int fd, const char *path)
{
    struct stat held, named;

    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

static int push_again(lua_State *L)
{
    lua_pushnil(L);
    lua_pushstring(L, "again");
    return 2;
}

static int file_lock(lua_State *L)
{
    const char *path = mssh_lua_check_text(L, 1);
    lock *self = mssh_lua_object_new(L, &lock_class, 0);
    int status;

    self->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (self->fd < 0)
        return mssh_lua_push_errno(L, "io", errno);
    do
        status = flock(self->fd, LOCK_EX | LOCK_NB);
    while (status != 0 && errno == EINTR);
    if (status != 0 && errno != EWOULDBLOCK)
        return mssh_lua_push_errno(L, "io", errno);
    if (status != 0 || !is_current(self->fd, path)) {
        lock_release(self);
        return push_again(L);
    }
    return 1;
}

void mssh_lua_open_lock(lua_State *L)
{
    mssh_lua_class_open(L, &lock_class);
    lua_getfield(L, -1, "file");
    lua_pushcfunction(L, file_lock);
    lua_setfield(L, -2, "lock");
    lua_pop(L, 1);
}
