/*
 * SFTP within the session object: the machines of its channels, their events, and the files of transfers,
 * which go between descriptor and packet without Lua.
 */
#ifndef MSSH_BINDING_SFTP_H
#define MSSH_BINDING_SFTP_H

#include "binding/session.h"

/* Frees a machine; NULL is fine. */
void mssh_lua_sftp_free(mssh_lua_session *self, mssh_lua_sftp *machine);

/* Hands the data of the session's event to the machine of its channel. True when all were taken; false when
 * an event of the machine's is to be given first. */
bool mssh_lua_sftp_feed(mssh_lua_session *self);

/* Pushes the values of that event, and gives how many. */
int mssh_lua_sftp_give(lua_State *L, mssh_lua_session *self);

/* Moves transfers on: asks for blocks, reads from files into the send queue as much as is worth a write.
 * Whether it queued anything. */
bool mssh_lua_sftp_fill(mssh_lua_session *self);

/* Pushes the values of an event that is due without data, and gives how many; 0 when there is none. */
int mssh_lua_sftp_news(lua_State *L, mssh_lua_session *self);

/* Whether there is such an event. */
bool mssh_lua_sftp_has_news(const mssh_lua_session *self);

#endif
