/* A channel's data to and from a descriptor without a Lua string in between: what forwarding is made of. */
#include "binding/fd.h"
#include "binding/session.h"

#include <errno.h>

enum {
    /* Read at a time. */
    PIECE = 32 * 1024,
    /* Moved by one call at most: others want their turn. */
    TURN = 512 * 1024,
};

static mssh_connection *connection_of(const mssh_lua_session *self)
{
    return mssh_session_connection(self->session);
}

int mssh_lua_session_channel_to_fd(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = (mssh_channel)luaL_checkinteger(L, 2);
    int fd = mssh_lua_check_fd(L, 3);
    size_t moved = 0;
    mssh_slice kept;

    while (moved < TURN && (kept = mssh_channel_kept(connection_of(self), channel, MSSH_STDOUT)).len > 0) {
        ssize_t n = mssh_fd_send(fd, kept.data, kept.len < TURN ? kept.len : TURN);
        if (n < 0 && n != -EAGAIN)
            return mssh_lua_push_errno(L, "io", (int)-n);
        if (n <= 0)
            break;
        mssh_channel_take(connection_of(self), channel, MSSH_STDOUT, (size_t)n);
        moved += (size_t)n;
    }
    lua_pushinteger(L, (lua_Integer)moved);
    return 1;
}

/* Moves one piece. What the channel takes is asked before the descriptor is read, so that nothing is left
 * over.
 */
static ssize_t read_piece(mssh_connection *connection, mssh_channel channel, int fd, size_t *asked)
{
    uint8_t piece[PIECE];
    size_t room = mssh_channel_room(connection, channel);
    size_t taken = 0;
    ssize_t n;

    *asked = room < sizeof piece ? room : sizeof piece;
    n = mssh_fd_recv(fd, piece, *asked);
    if (n <= 0)
        return n;
    (void)mssh_channel_write(connection, channel, MSSH_STDOUT, mssh_slice_of(piece, (size_t)n), &taken);
    mssh_wipe(piece, (size_t)n);
    return n;
}

int mssh_lua_session_channel_from_fd(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_channel channel = (mssh_channel)luaL_checkinteger(L, 2);
    int fd = mssh_lua_check_fd(L, 3);
    const char *state = "more";

    for (size_t moved = 0; moved < TURN;) {
        size_t asked = 0;
        ssize_t n = 0;
        if (mssh_channel_room(connection_of(self), channel) == 0) {
            state = "full";
            break;
        }
        n = read_piece(connection_of(self), channel, fd, &asked);
        if (n < 0 && n != -EAGAIN)
            return mssh_lua_push_errno(L, "io", (int)-n);
        if (n == 0) {
            state = "eof";
            break;
        }
        if (n < 0 || (size_t)n < asked) { /* there was no more */
            state = "again";
            break;
        }
        moved += (size_t)n;
    }
    lua_pushstring(L, state);
    return 1;
}
