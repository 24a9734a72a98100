/*
 * The one allocator. It has Lua's signature, knows the size of every block, and wipes what it gives up: a
 * block is overwritten when it is freed, when it moves, and where it shrinks. A test makes the n-th
 * allocation fail with a function of its own.
 */
#ifndef MSSH_BASE_MEM_H
#define MSSH_BASE_MEM_H

#include <stddef.h>

/* As lua_Alloc: nsize 0 frees and returns NULL; ptr NULL allocates; else resizes. NULL on failure leaves the
 * block as it was. It need not wipe: mssh_mem never asks it to move a block (it allocates, copies, wipes and
 * frees). */
typedef void *(*mssh_alloc_fn)(void *ud, void *ptr, size_t osize, size_t nsize);

typedef struct mssh_mem {
    mssh_alloc_fn alloc;
    void *ud;
    size_t in_use; /* bytes allocated now */
    size_t peak;   /* most bytes allocated at once */
} mssh_mem;

/* Prepares an allocator over `alloc` (borrowed with its ud), or over malloc when it is NULL. The struct must
 * outlive its blocks. */
void mssh_mem_init(mssh_mem *mem, mssh_alloc_fn alloc, void *ud);

/* A zeroed block of `size` bytes (size > 0), or NULL. */
void *mssh_alloc(mssh_mem *mem, size_t size);

/* Moves a block to one of `nsize` bytes (nsize > 0), keeping the first `keep` bytes, and wipes the old one.
 * The rest of the new block is not initialised. NULL leaves the old block untouched. ptr may be NULL. */
void *mssh_resize(mssh_mem *mem, void *ptr, size_t osize, size_t nsize, size_t keep);

/* Wipes and frees a block of `size` bytes. NULL is fine. */
void mssh_free(mssh_mem *mem, void *ptr, size_t size);

/* Frees a block of `size` bytes of which only the first `used` were ever written: wipes just these. */
void mssh_free_used(mssh_mem *mem, void *ptr, size_t size, size_t used);

/* Overwrites memory in a way that the compiler keeps. */
void mssh_wipe(void *ptr, size_t size);

/* Overwrites the stack below the caller, where functions that have returned left what they computed with:
 * those of OpenSSL do not always clean up after themselves. To be called right after a use of secrets. */
void mssh_wipe_stack(void);

#endif
