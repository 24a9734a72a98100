/* core.file: small local files (keys, known_hosts), read and appended to so that nothing hostile in their
 * place can block or fill memory; and who and where we are. */
#include "binding/local.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_STANDARD = 1 << 20,
    READ_STEP = 16 * 1024,
    APPEND_MOST = 1 << 24,
    NAME_MOST = 256,
    RECORD_MOST = 1 << 20,
};

/* Opens a regular file; a FIFO or a device is opened without waiting and turned away. 0 or an errno. */
static int open_regular(lua_State *L, mssh_lua_box *box, const char *path, int flags, struct stat *attributes)
{
    flags |= O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    box->fd = open(path, flags, 0600);
    if (box->fd < 0 && (errno == EMFILE || errno == ENFILE)) { /* dropped handles hold some */
        (void)lua_gc(L, LUA_GCCOLLECT);
        box->fd = open(path, flags, 0600);
    }
    if (box->fd < 0 || fstat(box->fd, attributes) != 0)
        return errno;
    if (S_ISDIR(attributes->st_mode))
        return EISDIR;
    return S_ISREG(attributes->st_mode) ? 0 : EINVAL;
}

/* The size that fstat gives is not relied on: /proc says 0, and a file may grow. 0 or an errno. */
static int read_all(mssh_lua_box *box, size_t max)
{
    for (;;) {
        size_t left = max + 1 - mssh_buf_len(&box->buf);
        size_t room = left < READ_STEP ? left : READ_STEP;
        uint8_t *place = mssh_buf_reserve(&box->buf, room);
        ssize_t n;

        if (place == NULL)
            return ENOMEM;
        n = read(box->fd, place, room);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0)
            mssh_buf_commit(&box->buf, (size_t)n);
        if (mssh_buf_len(&box->buf) > max)
            return EFBIG;
    }
}

static int push_file_error(lua_State *L, mssh_lua_box *box, int number)
{
    mssh_lua_box_release(box);
    if (number != EINVAL)
        return mssh_lua_push_errno(L, "io", number);
    lua_pushnil(L);
    lua_pushstring(L, "io");
    lua_pushstring(L, "Not a regular file");
    lua_pushinteger(L, number);
    return 4;
}

static int file_read(lua_State *L)
{
    const char *path = mssh_lua_check_text(L, 1);
    size_t max = (size_t)mssh_lua_opt_range(L, 2, READ_STANDARD, 0, INT32_MAX);
    mssh_lua_box *box = mssh_lua_box_new(L, max + 1);
    struct stat attributes = {0};
    int number = open_regular(L, box, path, O_RDONLY, &attributes);

    if (number == 0)
        number = read_all(box, max);
    if (number != 0)
        return push_file_error(L, box, number);
    mssh_lua_push_slice(L, mssh_buf_slice(&box->buf));
    lua_pushinteger(L, (lua_Integer)(attributes.st_mode & 07777));
    lua_pushinteger(L, (lua_Integer)attributes.st_uid);
    mssh_lua_box_release(box);
    return 3;
}

/* Makes the folders above `path`, which is changed meanwhile and put back. What cannot be made shows when the
 * file is opened. */
static void make_parents(char *path)
{
    for (char *at = path; *at != '\0'; at++) {
        if (*at == '/' && at > path && at[-1] != '/') {
            *at = '\0';
            (void)mkdir(path, 0700);
            *at = '/';
        }
    }
}

/* Opens for appending; the folders are made only when they are missing. 0 or an errno. */
static int open_append(lua_State *L, mssh_lua_box *box, const char *path, struct stat *attributes)
{
    const int flags = O_RDWR | O_APPEND | O_CREAT;
    int number = open_regular(L, box, path, flags, attributes);
    char *copy;

    if (number != ENOENT || box->fd >= 0)
        return number;
    if (mssh_buf_append(&box->buf, path, strlen(path) + 1) != 0)
        return ENOMEM;
    copy = (char *)mssh_buf_bytes(&box->buf);
    make_parents(copy);
    mssh_buf_clear(&box->buf);
    return open_regular(L, box, path, flags, attributes);
}

/* Writes the buffer at once. A disk that fills up in the middle must not leave half a line: what was written
 * is cut off again, unless another process has appended since. 0 or an errno. */
static int write_all(const mssh_lua_box *box)
{
    mssh_slice bytes = mssh_buf_slice(&box->buf);
    struct stat after;
    ssize_t n;
    int number;

    do
        n = write(box->fd, bytes.data, bytes.len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno;
    if ((size_t)n == bytes.len)
        return fsync(box->fd) == 0 || errno == EINVAL || errno == EROFS ? 0 : errno;
    number = ENOSPC;
    if (fstat(box->fd, &after) == 0 && lseek(box->fd, 0, SEEK_CUR) == after.st_size &&
        ftruncate(box->fd, after.st_size - n) != 0)
        number = errno;
    return number;
}

static int file_append(lua_State *L)
{
    const char *path = mssh_lua_check_text(L, 1);
    mssh_slice data = mssh_lua_check_slice(L, 2);
    mssh_lua_box *box = mssh_lua_box_new(L, APPEND_MOST);
    struct stat attributes = {0};
    char last = '\n';
    int number = open_append(L, box, path, &attributes);

    if (number == 0 && attributes.st_size > 0 && pread(box->fd, &last, 1, attributes.st_size - 1) < 0)
        number = errno;
    if (number == 0 && last != '\n')
        (void)mssh_buf_append(&box->buf, "\n", 1);
    if (number == 0)
        (void)mssh_buf_append(&box->buf, data.data, data.len);
    if (box->buf.error != 0)
        number = box->buf.error == MSSH_ERR_LIMIT ? EFBIG : ENOMEM;
    if (number == 0)
        number = write_all(box);
    if (number != 0)
        return push_file_error(L, box, number);
    mssh_lua_box_release(box);
    lua_pushboolean(L, 1);
    return 1;
}

/* Makes an empty file beside `path`, its name left in the buffer; with the mode and, where that is allowed,
 * the owner of the file that it will replace. 0 or an errno. */
static int open_beside(mssh_lua_box *box, const char *path)
{
    static const char suffix[] = ".XXXXXX";
    struct stat old = {0};
    char *name;

    if (mssh_buf_append(&box->buf, path, strlen(path)) != 0 ||
        mssh_buf_append(&box->buf, suffix, sizeof suffix) != 0)
        return ENOMEM;
    name = (char *)mssh_buf_bytes(&box->buf);
    box->fd = mkostemp(name, O_CLOEXEC);
    if (box->fd < 0)
        return errno;
    if (stat(path, &old) != 0)
        return 0;
    if (fchown(box->fd, old.st_uid, old.st_gid) != 0 && errno != EPERM)
        return errno;
    return fchmod(box->fd, old.st_mode & 07777) == 0 ? 0 : errno;
}

/* 0 or an errno. */
static int write_synced(int fd, mssh_slice data)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.data, data.len);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0)
            data = mssh_slice_of(data.data + n, data.len - (size_t)n);
    }
    return fsync(fd) == 0 || errno == EINVAL || errno == EROFS ? 0 : errno;
}

static int file_replace(lua_State *L)
{
    const char *path = mssh_lua_check_text(L, 1);
    mssh_slice data = mssh_lua_check_slice(L, 2);
    mssh_lua_box *box = mssh_lua_box_new(L, READ_STANDARD);
    char real[PATH_MAX];
    /* A symbolic link stays one: what it points to is replaced. */
    const char *target = realpath(path, real) != NULL ? real : path;
    int number = open_beside(box, target);
    const char *name = (const char *)mssh_buf_bytes(&box->buf);

    if (number == 0)
        number = write_synced(box->fd, data);
    if (number == 0 && rename(name, target) != 0)
        number = errno;
    if (number != 0 && box->fd >= 0)
        (void)unlink(name);
    if (number != 0)
        return push_file_error(L, box, number);
    mssh_lua_box_release(box);
    lua_pushboolean(L, 1);
    return 1;
}

/* The password database's record of a user, NULL for the effective one, in the box. 0 or an errno. */
static int passwd_of_user(mssh_lua_box *box, const char *name, struct passwd *record)
{
    struct passwd *found = NULL;
    int number = ERANGE;

    for (size_t size = 1024; number == ERANGE && size <= RECORD_MOST; size *= 4) {
        char *room;
        mssh_buf_clear(&box->buf);
        room = (char *)mssh_buf_reserve(&box->buf, size);
        if (room == NULL)
            return ENOMEM;
        mssh_buf_commit(&box->buf, size);
        do
            number = name == NULL ? getpwuid_r(geteuid(), record, room, size, &found)
                                  : getpwnam_r(name, record, room, size, &found);
        while (number == EINTR);
    }
    return number == 0 && found == NULL ? ENOENT : number;
}

/* As ssh does, the database comes before $HOME, which only stands in for a user without a record. */
static int file_home(lua_State *L)
{
    const char *name = lua_isnoneornil(L, 1) ? NULL : mssh_lua_check_text(L, 1);
    mssh_lua_box *box = mssh_lua_box_new(L, RECORD_MOST);
    struct passwd record;
    int number = passwd_of_user(box, name, &record);
    const char *home = number == 0 ? record.pw_dir : name == NULL ? getenv("HOME") : NULL;

    if (number == ENOMEM || home == NULL || home[0] == '\0')
        return mssh_lua_push_errno(L, "io", number != 0 ? number : ENOENT);
    lua_pushstring(L, home);
    mssh_lua_box_release(box);
    return 1;
}

static int file_user(lua_State *L)
{
    mssh_lua_box *box = mssh_lua_box_new(L, RECORD_MOST);
    struct passwd record;
    int number = passwd_of_user(box, NULL, &record);

    if (number != 0)
        return mssh_lua_push_errno(L, "io", number);
    lua_pushstring(L, record.pw_name);
    mssh_lua_box_release(box);
    return 1;
}

static int file_hostname(lua_State *L)
{
    char name[NAME_MOST + 1] = "";

    if (gethostname(name, NAME_MOST) != 0)
        return mssh_lua_push_errno(L, "io", errno);
    lua_pushstring(L, name);
    return 1;
}

static int file_uid(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)geteuid());
    return 1;
}

/* Copies the paths that were found into the buffer, each with its NUL: what glob has allocated must be gone
 * before Lua allocates. 0 or an errno. */
static int find_paths(mssh_lua_box *box, const char *pattern)
{
    glob_t found = {0};
    int status = glob(pattern, 0, NULL, &found);

    for (size_t i = 0; status == 0 && i < found.gl_pathc; i++) {
        if (mssh_buf_append(&box->buf, found.gl_pathv[i], strlen(found.gl_pathv[i]) + 1) != 0)
            status = GLOB_NOSPACE;
    }
    globfree(&found);
    if (status == 0 || status == GLOB_NOMATCH)
        return 0;
    return status == GLOB_NOSPACE ? ENOMEM : EIO;
}

static int file_glob(lua_State *L)
{
    const char *pattern = mssh_lua_check_text(L, 1);
    mssh_lua_box *box = mssh_lua_box_new(L, APPEND_MOST);
    int number = find_paths(box, pattern);
    const char *at, *end;

    if (number != 0)
        return push_file_error(L, box, number);
    lua_newtable(L);
    at = (const char *)mssh_buf_bytes(&box->buf);
    end = at + mssh_buf_len(&box->buf);
    for (lua_Integer i = 1; at < end; i++) {
        lua_pushstring(L, at);
        lua_rawseti(L, -2, i);
        at += strlen(at) + 1;
    }
    mssh_lua_box_release(box);
    return 1;
}

static const luaL_Reg functions[] = {
    {"read", file_read}, {"append", file_append}, {"replace", file_replace},
    {"home", file_home}, {"user", file_user},     {"hostname", file_hostname},
    {"uid", file_uid},   {"glob", file_glob},     {NULL, NULL},
};

void mssh_lua_open_file(lua_State *L)
{
    luaL_newlib(L, functions);
    mssh_lua_open_local(L);
    lua_pushinteger(L, ENOENT);
    lua_setfield(L, -2, "ENOENT");
    lua_setfield(L, -2, "file");
}
