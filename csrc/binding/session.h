/*
 * The session object, shared by the files that make up its methods: session.c (life, input and output,
 * state), session_options.c, session_info.c, session_event.c, session_auth.c, session_channel.c,
 * session_relay.c.
 */
#ifndef MSSH_BINDING_SESSION_H
#define MSSH_BINDING_SESSION_H

#include "binding/binding.h"
#include "mssh.h"

/* What happens to data that come on a stream; in the order of the names that Lua gives. */
typedef enum mssh_lua_mode { MSSH_LUA_KEEP, MSSH_LUA_DISCARD, MSSH_LUA_MERGE, MSSH_LUA_DIRECT } mssh_lua_mode;

typedef struct mssh_lua_sftp mssh_lua_sftp;

/* The modes of a channel; one that has no row keeps both streams. */
typedef struct mssh_lua_channel {
    mssh_channel channel;
    mssh_lua_mode mode[MSSH_N_STREAMS];
    size_t budget[MSSH_N_STREAMS];
    size_t outstanding;  /* bytes given to Lua directly and not credited yet */
    mssh_lua_sftp *sftp; /* gets all of stdout; or NULL */
} mssh_lua_channel;

/* What is kept of an event that is held back: see session:receive. */
typedef struct mssh_lua_notice {
    mssh_channel channel;
    mssh_event_type type;
    uint32_t reason;
    bool success;
} mssh_lua_notice;

/* Most events that are held back together. */
enum { MSSH_LUA_NOTICES = 8 };

typedef struct mssh_lua_session {
    mssh_lua_object object;
    mssh_mem mem;
    mssh_session *session;
    mssh_event event; /* taken from the session, and not given to Lua yet, while `pending` */
    bool pending;
    uint64_t n_events;                         /* taken so far: tells whether `event` is still the same one */
    mssh_lua_notice notices[MSSH_LUA_NOTICES]; /* those that were held back; `event` comes after them */
    size_t n_notices;
    bool for_commands; /* a channel of type "session" was opened */
    unsigned n_quick;  /* reads since then that ask for quick acknowledgement */
    bool failed_told;  /* the event "failed" was given */
    bool no_ignore;    /* the events "ignore", "debug" are not given */
    bool no_debug;
    bool no_requests; /* nor "global_request" */
    char code[32];    /* what Lua called the failure that it ended the session with; else empty */
    mssh_lua_channel *channels;
    size_t n_channels;
    size_t channels_cap;
    size_t n_machines; /* channels with SFTP */
    size_t turn;       /* of the channels that move files */
    bool cut_short;    /* the last write has left files that there is room for */
} mssh_lua_session;

/* The session at stack index 1; raises when it is something else, or closed. */
mssh_lua_session *mssh_lua_session_check(lua_State *L);

/* Pushes a view into the session; raises when it was closed since it was checked. */
void mssh_lua_session_push(lua_State *L, const mssh_lua_session *self, mssh_slice slice);

/* Pushes true for 0, else nil, code, message; returns the number of values. */
int mssh_lua_session_result(lua_State *L, const mssh_lua_session *self, int code);

/* Fills *options from the table at `arg` (or nil); raises on a wrong one. Strings are borrowed from the
 * table.
 */
void mssh_lua_session_options(lua_State *L, int arg, mssh_session_options *options);

/* The row of a channel, made if need be; NULL for a stale handle, and when out of memory. */
mssh_lua_channel *mssh_lua_channel_row(mssh_lua_session *self, mssh_channel channel);

/* The row of a channel, or NULL when it has none. */
mssh_lua_channel *mssh_lua_channel_find(mssh_lua_session *self, mssh_channel channel);

/* Drops the row of a channel whose handle is gone. */
void mssh_lua_channel_forget(mssh_lua_session *self, mssh_channel channel);

/* The methods `channel_to_fd` and `channel_from_fd`. */
int mssh_lua_session_channel_to_fd(lua_State *L);
int mssh_lua_session_channel_from_fd(lua_State *L);

/* The next event into ->event, unless one is waiting there. False when there is none to tell. */
bool mssh_lua_session_take_event(mssh_lua_session *self);

/* Holds the event back if it is of that channel, 0 for none, and only tells how it goes on there: opened, a
 * request granted, room, end of file, a status. False when it stays where it is. */
bool mssh_lua_session_hold(mssh_lua_session *self, mssh_channel channel);

/* The method `next`. */
int mssh_lua_session_next(lua_State *L);

/* Each adds the methods of its file, as luaL_setfuncs takes them. */
extern const luaL_Reg mssh_lua_session_info_methods[];
extern const luaL_Reg mssh_lua_session_auth_methods[];
extern const luaL_Reg mssh_lua_session_channel_methods[];
extern const luaL_Reg mssh_lua_session_sftp_methods[];

#endif
