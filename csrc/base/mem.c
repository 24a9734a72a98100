#define _DEFAULT_SOURCE
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* As deep as a computation of OpenSSL goes, and more. */
enum { STACK_USED = 16 * 1024 };

static void *alloc_from_libc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    (void)ud;
    (void)osize;
    if (nsize == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, nsize);
}

void mssh_mem_init(mssh_mem *mem, mssh_alloc_fn alloc, void *ud)
{
    mem->alloc = alloc != NULL ? alloc : alloc_from_libc;
    mem->ud = ud;
    mem->in_use = 0;
    mem->peak = 0;
}

static void *take(mssh_mem *mem, size_t size)
{
    void *block = mem->alloc(mem->ud, NULL, 0, size);
    if (block != NULL) {
        mem->in_use += size;
        if (mem->in_use > mem->peak)
            mem->peak = mem->in_use;
    }
    return block;
}

void *mssh_alloc(mssh_mem *mem, size_t size)
{
    void *block = take(mem, size);
    if (block != NULL)
        memset(block, 0, size);
    return block;
}

void *mssh_resize(mssh_mem *mem, void *ptr, size_t osize, size_t nsize, size_t keep)
{
    void *block = take(mem, nsize);
    if (block == NULL)
        return NULL;
    if (keep > 0 && ptr != NULL)
        memcpy(block, ptr, keep);
    mssh_free(mem, ptr, osize);
    return block;
}

void mssh_free_used(mssh_mem *mem, void *ptr, size_t size, size_t used)
{
    if (ptr == NULL)
        return;
    mssh_wipe(ptr, used);
    mem->in_use -= size;
    (void)mem->alloc(mem->ud, ptr, size, 0);
}

void mssh_free(mssh_mem *mem, void *ptr, size_t size)
{
    mssh_free_used(mem, ptr, size, size);
}

void mssh_wipe(void *ptr, size_t size)
{
    if (size > 0)
        explicit_bzero(ptr, size);
}

__attribute__((noinline)) void mssh_wipe_stack(void)
{
    unsigned char used[STACK_USED];

    explicit_bzero(used, sizeof used);
}
