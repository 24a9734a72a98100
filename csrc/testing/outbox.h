/*
 * An outbox that is a list, and other things that the parts for the upper layers share.
 */
#ifndef MSSH_TESTING_OUTBOX_H
#define MSSH_TESTING_OUTBOX_H

#include "auth/auth.h"
#include "base/error.h"
#include "connection/connection.h"
#include "wire/outbox.h"

#include <lua.h>

typedef struct mssh_testing_record {
    bool concealed;
    size_t len;
    uint8_t *bytes;
} mssh_testing_record;

typedef struct mssh_testing_outbox {
    mssh_outbox outbox;
    mssh_testing_record *records;
    size_t n_records;
    size_t cap;
    size_t room; /* each payload sent takes its length off it */
    int error;   /* what sending fails with; 0: it does not */
} mssh_testing_outbox;

/* An empty list with endless room. The struct must not move. */
void mssh_testing_outbox_init(mssh_testing_outbox *box);

/* Empties it. */
void mssh_testing_outbox_clear(mssh_testing_outbox *box);

/* Pushes what was sent since the last call as a list of strings, and a table that says by index which were
 * concealed; returns 2. */
int mssh_testing_outbox_take(lua_State *L, mssh_testing_outbox *box);

/* Sets room and error from the arguments at 2 (bytes, nil: endless) and 3 (an error's number, or nil);
 * returns 0. */
int mssh_testing_outbox_limit(lua_State *L, mssh_testing_outbox *box);

/* Pushes true for 0; nil and the error's name for an error. Returns how many. */
int mssh_testing_push_result(lua_State *L, int err);

/* Pushes the code's name, message and reason of a failure, or nil. Returns how many. */
int mssh_testing_push_failure(lua_State *L, const mssh_failure *failure);

/* A copy of the string argument in a block of exactly its size, for tools that watch bounds; to be freed by
 * free(). */
mssh_slice mssh_testing_copy_slice(lua_State *L, int index);

/* Sets field `name` of the table on top of the stack. */
void mssh_testing_set_slice(lua_State *L, const char *name, mssh_slice value);
void mssh_testing_set_integer(lua_State *L, const char *name, lua_Integer value);
void mssh_testing_set_boolean(lua_State *L, const char *name, bool value);

/* Sets the fields of an event in the table on top of the stack, but for `type`. */
void mssh_testing_set_auth_event(lua_State *L, mssh_auth_event event);
void mssh_testing_set_connection_event(lua_State *L, const mssh_connection_event *event);

#endif
