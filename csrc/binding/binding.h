/*
 * What the parts of the binding share: checking arguments, reporting errors, and objects.
 *
 * Any function of Lua's that allocates may leave by longjmp. So whatever must be given back (memory, a
 * descriptor, a session) belongs to an object with a finalizer before the next such call, and nothing is
 * taken away from a session before the Lua values for it exist.
 *
 * And it may run the collector, with it finalizers, and these may call methods of the very object that is in
 * use: close it, or take its next event. So a view into an object ends with the next such call; what needs
 * several looks after each whether the object is still as it was. Checking arguments allocates nothing.
 */
#ifndef MSSH_BINDING_BINDING_H
#define MSSH_BINDING_BINDING_H

#include "base/buf.h"
#include "base/error.h"

#include <lauxlib.h>
#include <lua.h>

/* One kind of object: a userdata whose first member is an mssh_lua_object. */
typedef struct mssh_lua_class {
    const char *name; /* "moonssh.core.key": the metatable's name, and what error messages call it */
    uint32_t tag; /* first bytes of every object of the class: a metatable put on a foreign userdata with the
                     debug library is an error, not a crash */
    size_t size;
    void (*release)(void *object); /* gives back what the object holds; may be called again */
    const luaL_Reg *methods[6];    /* lists of them; unused places are NULL */
} mssh_lua_class;

typedef struct mssh_lua_object {
    uint32_t tag;
    bool closed; /* set by close and by the finalizer; methods raise from then on */
} mssh_lua_object;

/* Pushes a new zeroed object with its metatable and `n_values` user values. */
void *mssh_lua_object_new(lua_State *L, const mssh_lua_class *class, int n_values);

/* The object at `arg`, within a method of its class; raises when it is something else, or closed. */
void *mssh_lua_object_check(lua_State *L, int arg, const mssh_lua_class *class);

/* Makes the metatable of a class, unless the state has it: methods, `close` (twice is fine), __gc and __close
 * which do the same, __metatable = false. */
void mssh_lua_class_open(lua_State *L, const mssh_lua_class *class);

/* An allocator over the state's own allocation function, so that one limit and one failing-allocation test
 * hold for both. Not for memory that another thread frees. */
void mssh_lua_mem_init(lua_State *L, mssh_mem *mem);

/* What a function holds until it returns or is left by an error: pushed as an object. */
typedef struct mssh_lua_box {
    mssh_lua_object object;
    mssh_mem mem;
    mssh_buf buf; /* wiped and freed */
    int fd;       /* closed unless -1 */
} mssh_lua_box;

/* Pushes a box whose buffer holds at most `max` bytes. */
mssh_lua_box *mssh_lua_box_new(lua_State *L, size_t max);

/* Gives back what the box holds before the collector would. */
void mssh_lua_box_release(mssh_lua_box *box);

/* The string at `arg`, borrowed from the stack; a number is none: converting it would allocate. */
mssh_slice mssh_lua_check_slice(lua_State *L, int arg);

/* The string at `arg`, or data NULL when it is nil or absent. */
mssh_slice mssh_lua_opt_slice(lua_State *L, int arg);

/* The string at `arg` for a C interface; raises when it contains a NUL. */
const char *mssh_lua_check_text(lua_State *L, int arg);

/* The integer at `arg`; raises when it is outside min..max. */
lua_Integer mssh_lua_check_range(lua_State *L, int arg, lua_Integer min, lua_Integer max);

/* The same with a default for nil. */
lua_Integer mssh_lua_opt_range(lua_State *L, int arg, lua_Integer standard, lua_Integer min, lua_Integer max);

/* The file descriptor at `arg`, a non-negative int. */
int mssh_lua_check_fd(lua_State *L, int arg);

/* The finite number at `arg`, as seconds. */
lua_Number mssh_lua_check_seconds(lua_State *L, int arg);

/* The time at `arg`, in seconds on the clock of core.now, as milliseconds; nil or none, and what is beyond
 * any clock, as UINT64_MAX. */
uint64_t mssh_lua_opt_time(lua_State *L, int arg);

/* Pushes a view as a string; it need not outlive the call. */
void mssh_lua_push_slice(lua_State *L, mssh_slice slice);

/* Pushes nil, code, message, errno for a failed system call and returns 4; the code is "memory" for ENOMEM.
 */
int mssh_lua_push_errno(lua_State *L, const char *code, int number);

/* Pushes nil, code, message for an mssh_err and returns 3. The message is the failure's when that has the
 * same code (it may be NULL), else what the code says by itself. */
int mssh_lua_push_failure(lua_State *L, int code, const mssh_failure *failure);

/* Pushes true for 0, else as mssh_lua_push_failure; returns the number of values. */
int mssh_lua_push_result(lua_State *L, int code, const mssh_failure *failure);

/* Each adds one part of the interface to the module table at the top of the stack. */
void mssh_lua_open_util(lua_State *L);
void mssh_lua_open_poller(lua_State *L);
void mssh_lua_open_socket(lua_State *L);
void mssh_lua_open_terminal(lua_State *L);
void mssh_lua_open_resolver(lua_State *L);
void mssh_lua_open_file(lua_State *L);
void mssh_lua_open_lock(lua_State *L); /* after file */
void mssh_lua_open_process(lua_State *L);
void mssh_lua_open_key(lua_State *L);
void mssh_lua_open_algorithms(lua_State *L);
void mssh_lua_open_session(lua_State *L);
void mssh_lua_open_sftp(lua_State *L);

#endif
