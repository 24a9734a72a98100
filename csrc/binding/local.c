/* Local files for transfers: objects that own a descriptor, and what there is to do to names. In core.file.
 */
#include "binding/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PERMISSIONS = 07777 };

static void local_release(void *object)
{
    mssh_lua_local *self = object;

    if (self->fd >= 0)
        (void)close(self->fd);
    self->fd = -1;
}

static int push_io(lua_State *L, int number)
{
    return mssh_lua_push_errno(L, "io", number);
}

/* true, or nil, "io", message, errno */
static int push_done(lua_State *L, int status)
{
    if (status != 0)
        return push_io(L, errno);
    lua_pushboolean(L, 1);
    return 1;
}

static const char *type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "symlink";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFBLK:
        return "block";
    case S_IFCHR:
        return "character";
    default:
        return "unknown";
    }
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static int push_stat(lua_State *L, int status, const struct stat *attributes)
{
    if (status != 0)
        return push_io(L, errno);
    lua_createtable(L, 0, 9);
    set_integer(L, "size", (lua_Integer)attributes->st_size);
    set_integer(L, "permissions", (lua_Integer)(attributes->st_mode & PERMISSIONS));
    set_integer(L, "uid", (lua_Integer)attributes->st_uid);
    set_integer(L, "gid", (lua_Integer)attributes->st_gid);
    set_integer(L, "atime", (lua_Integer)attributes->st_atime);
    set_integer(L, "mtime", (lua_Integer)attributes->st_mtime);
    lua_pushstring(L, type_name(attributes->st_mode));
    lua_setfield(L, -2, "type");
    return 1;
}

/* --- objects */

static mssh_lua_local *check_self(lua_State *L);

static int local_stat(lua_State *L)
{
    struct stat attributes = {0};
    int status = fstat(check_self(L)->fd, &attributes);

    return push_stat(L, status, &attributes);
}

static int local_truncate(lua_State *L)
{
    int fd = check_self(L)->fd;

    return push_done(L, ftruncate(fd, (off_t)mssh_lua_check_range(L, 2, 0, LUA_MAXINTEGER)));
}

static int local_sync(lua_State *L)
{
    int status = fsync(check_self(L)->fd);

    return push_done(L, status != 0 && (errno == EINVAL || errno == EROFS) ? 0 : status);
}

static int local_chmod(lua_State *L)
{
    int fd = check_self(L)->fd;

    return push_done(L, fchmod(fd, (mode_t)mssh_lua_check_range(L, 2, 0, PERMISSIONS)));
}

/* Access and modification time, in seconds, at `arg` and behind it. */
static void check_times(lua_State *L, int arg, struct timespec *times)
{
    for (int i = 0; i < 2; i++)
        times[i] = (struct timespec){.tv_sec = (time_t)luaL_checkinteger(L, arg + i)};
}

static int local_times(lua_State *L)
{
    int fd = check_self(L)->fd;
    struct timespec times[2];

    check_times(L, 2, times);
    return push_done(L, futimens(fd, times));
}

static int local_read(lua_State *L)
{
    const mssh_lua_local *self = check_self(L);
    lua_Integer offset = mssh_lua_check_range(L, 2, 0, LUA_MAXINTEGER);
    size_t len = (size_t)mssh_lua_check_range(L, 3, 0, INT_MAX);
    luaL_Buffer out;
    char *place = luaL_buffinitsize(L, &out, len);
    ssize_t n = mssh_lua_local_read(self, (uint64_t)offset, place, len);

    if (n < 0)
        return push_io(L, (int)-n);
    luaL_pushresultsize(&out, (size_t)n);
    return 1;
}

static const luaL_Reg methods[] = {
    {"stat", local_stat},   {"truncate", local_truncate}, {"sync", local_sync}, {"chmod", local_chmod},
    {"times", local_times}, {"read", local_read},         {NULL, NULL},
};

static const mssh_lua_class local_class = {
    .name = "moonssh.core.local",
    .tag = 0x6c6f636c,
    .size = sizeof(mssh_lua_local),
    .release = local_release,
    .methods = {methods},
};

static mssh_lua_local *check_self(lua_State *L)
{
    return mssh_lua_object_check(L, 1, &local_class);
}

mssh_lua_local *mssh_lua_local_check(lua_State *L, int arg)
{
    mssh_lua_local *self = luaL_checkudata(L, arg, local_class.name);

    luaL_argcheck(L, lua_rawlen(L, arg) >= sizeof *self && self->object.tag == local_class.tag, arg,
                  "no file");
    luaL_argcheck(L, !self->object.closed, arg, "it is closed");
    return self;
}

ssize_t mssh_lua_local_read(const mssh_lua_local *local, uint64_t offset, void *place, size_t len)
{
    size_t done = 0;

    if (local->fd < 0)
        return -EBADF;
    while (done < len) {
        ssize_t n = pread(local->fd, (char *)place + done, len - done, (off_t)(offset + done));
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            done += (size_t)n;
    }
    return (ssize_t)done;
}

int mssh_lua_local_write(const mssh_lua_local *local, uint64_t offset, mssh_slice bytes)
{
    if (local->fd < 0)
        return -EBADF;
    while (bytes.len > 0) {
        ssize_t n = pwrite(local->fd, bytes.data, bytes.len, (off_t)offset);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            offset += (uint64_t)n;
            bytes = mssh_slice_of(bytes.data + n, bytes.len - (size_t)n);
        }
    }
    return 0;
}

/* Modes: "r" reads; "w" writes an emptied file, "u" one as it is; both make it. With "n" behind it a symbolic
 * link in its place is an error. */
static int file_open(lua_State *L)
{
    const char *path = mssh_lua_check_text(L, 1);
    const char *mode = mssh_lua_check_text(L, 2);
    mode_t permissions = (mode_t)mssh_lua_opt_range(L, 3, 0666, 0, PERMISSIONS);
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    mssh_lua_local *self;

    switch (mode[0]) {
    case 'r':
        flags |= O_RDONLY;
        break;
    case 'w':
        flags |= O_WRONLY | O_CREAT | O_TRUNC;
        break;
    case 'u':
        flags |= O_WRONLY | O_CREAT;
        break;
    default:
        return luaL_argerror(L, 2, "unknown mode");
    }
    if (mode[1] == 'n')
        flags |= O_NOFOLLOW;
    self = mssh_lua_object_new(L, &local_class, 0);
    self->fd = open(path, flags, permissions);
    return self->fd >= 0 ? 1 : push_io(L, errno);
}

/* --- names */

static int file_stat(lua_State *L)
{
    struct stat attributes = {0};

    return push_stat(L, stat(mssh_lua_check_text(L, 1), &attributes), &attributes);
}

static int file_lstat(lua_State *L)
{
    struct stat attributes = {0};

    return push_stat(L, lstat(mssh_lua_check_text(L, 1), &attributes), &attributes);
}

static int file_mkdir(lua_State *L)
{
    mode_t permissions = (mode_t)mssh_lua_opt_range(L, 2, 0777, 0, PERMISSIONS);

    return push_done(L, mkdir(mssh_lua_check_text(L, 1), permissions));
}

static int file_rename(lua_State *L)
{
    const char *from = mssh_lua_check_text(L, 1);

    return push_done(L, rename(from, mssh_lua_check_text(L, 2)));
}

static int file_remove(lua_State *L)
{
    return push_done(L, unlink(mssh_lua_check_text(L, 1)));
}

static int file_symlink(lua_State *L)
{
    const char *target = mssh_lua_check_text(L, 1);

    return push_done(L, symlink(target, mssh_lua_check_text(L, 2)));
}

static int file_readlink(lua_State *L)
{
    char target[PATH_MAX];
    ssize_t n = readlink(mssh_lua_check_text(L, 1), target, sizeof target);

    if (n < 0)
        return push_io(L, errno);
    lua_pushlstring(L, target, (size_t)n);
    return 1;
}

static int file_chmod(lua_State *L)
{
    const char *path = mssh_lua_check_text(L, 1);

    return push_done(L, chmod(path, (mode_t)mssh_lua_check_range(L, 2, 0, PERMISSIONS)));
}

static int file_times(lua_State *L)
{
    const char *path = mssh_lua_check_text(L, 1);
    struct timespec times[2];

    check_times(L, 2, times);
    return push_done(L, utimensat(AT_FDCWD, path, times, lua_toboolean(L, 4) ? AT_SYMLINK_NOFOLLOW : 0));
}

/* What reads a folder is an object, to be closed if a name finds no memory. */
typedef struct folder {
    mssh_lua_object object;
    DIR *dir;
} folder;

static void folder_release(void *object)
{
    folder *self = object;

    if (self->dir != NULL)
        (void)closedir(self->dir);
    self->dir = NULL;
}

static const mssh_lua_class folder_class = {
    .name = "moonssh.core.folder",
    .tag = 0x666f6c64,
    .size = sizeof(folder),
    .release = folder_release,
};

static int file_list(lua_State *L)
{
    const char *path = mssh_lua_check_text(L, 1);
    folder *self;
    const struct dirent *entry;
    lua_Integer n = 0;
    int number;

    lua_settop(L, 1);
    mssh_lua_class_open(L, &folder_class);
    self = mssh_lua_object_new(L, &folder_class, 0);
    self->dir = opendir(path);
    if (self->dir == NULL)
        return push_io(L, errno);
    lua_newtable(L);
    for (errno = 0; (entry = readdir(self->dir)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        lua_pushstring(L, entry->d_name);
        lua_rawseti(L, -2, ++n);
    }
    number = errno;
    folder_release(self);
    return number == 0 ? 1 : push_io(L, number);
}

static const luaL_Reg functions[] = {
    {"open", file_open},     {"stat", file_stat},     {"lstat", file_lstat},     {"mkdir", file_mkdir},
    {"rename", file_rename}, {"remove", file_remove}, {"symlink", file_symlink}, {"readlink", file_readlink},
    {"chmod", file_chmod},   {"times", file_times},   {"list", file_list},       {NULL, NULL},
};

/* The numbers that something is made of. */
static const struct {
    const char *name;
    int value;
} numbers[] = {{"EACCES", EACCES}, {"EEXIST", EEXIST}, {"EPERM", EPERM}, {"EROFS", EROFS}};

void mssh_lua_open_local(lua_State *L)
{
    mssh_lua_class_open(L, &local_class);
    luaL_setfuncs(L, functions, 0);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        set_integer(L, numbers[i].name, numbers[i].value);
}
