/*
 * scan: looks for secrets in the memory of this process. A secret is named by its bytes masked (each XORed
 * with a number from 1 to 255), so that the search itself leaves no copy of it.
 *
 *   scan.count(masked, mask) -> number of copies, and a text that lists the first of them: wherever eight
 *      bytes in a row of it (at a multiple of eight from its start) lie in writable memory
 *   scan.unmask(masked, mask) -> the secret, as a string that is the only copy
 */
#include "base/mem.h"
#include "testing/testing.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WINDOW = 8, CHUNK = 1 << 20, SECRET_MAX = 4096, LISTED = 8 };

/* What is larger is no program's memory but a sanitizer's book-keeping. */
#define MAPPING_MAX (UINT64_C(4) << 30)

typedef struct scanner {
    int memory; /* /proc/self/mem */
    uint8_t *chunk;
    uint8_t mask;
    const char *masked;
    size_t len;
    lua_Integer hits;
    luaL_Buffer *places;
} scanner;

static void mask_bytes(uint8_t *bytes, size_t len, uint8_t mask)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] ^= mask;
}

static void note(scanner *s, uintptr_t address, size_t offset, const char *mapping)
{
    char line[256];
    uintptr_t own = (uintptr_t)s->chunk;

    if (address >= own && address < own + CHUNK)
        return; /* what the search itself has read */
    if (++s->hits > LISTED)
        return;
    snprintf(line, sizeof line, "byte %zu at %#lx in %s\n", offset, (unsigned long)address, mapping);
    luaL_addstring(s->places, line);
}

/* Whether the piece before it stands in front: then it is the same copy. */
static bool goes_on(const scanner *s, const uint8_t *at, size_t offset)
{
    return offset >= WINDOW && at - s->chunk >= WINDOW &&
           memcmp(at - WINDOW, s->masked + offset - WINDOW, WINDOW) == 0;
}

static void search_chunk(scanner *s, uintptr_t address, size_t len, const char *mapping)
{
    for (size_t offset = 0; offset + WINDOW <= s->len; offset += WINDOW) {
        const uint8_t *at = s->chunk;
        const uint8_t *end = s->chunk + len;

        while ((at = memmem(at, (size_t)(end - at), s->masked + offset, WINDOW)) != NULL) {
            if (!goes_on(s, at, offset))
                note(s, address + (uintptr_t)(at - s->chunk), offset, mapping);
            at++;
        }
    }
}

static void search_mapping(scanner *s, uintptr_t from, uintptr_t to, const char *mapping)
{
    while (from < to) {
        size_t wanted = to - from < CHUNK ? to - from : CHUNK;
        ssize_t n = pread(s->memory, s->chunk, wanted, (off_t)from);

        if (n < 2 * WINDOW)
            return;
        mask_bytes(s->chunk, (size_t)n, s->mask);
        search_chunk(s, from, (size_t)n, mapping);
        from += (uintptr_t)n == to - from ? (uintptr_t)n : (uintptr_t)n - (2 * WINDOW - 1);
    }
}

/* A line of /proc/self/maps: "from-to rw-p offset device inode  name". */
static void search_all(scanner *s, FILE *maps)
{
    char line[512];

    while (fgets(line, sizeof line, maps) != NULL) {
        char *rest = NULL;
        uintptr_t from = strtoul(line, &rest, 16);
        uintptr_t to = *rest == '-' ? strtoul(rest + 1, &rest, 16) : from;
        const char *name = strpbrk(line, "/[");

        line[strcspn(line, "\n")] = 0;
        if (strncmp(rest, " rw", 3) == 0 && to - from <= MAPPING_MAX)
            search_mapping(s, from, to, name != NULL ? name : "anonymous memory");
    }
}

static uint8_t check_mask(lua_State *L)
{
    lua_Integer mask = luaL_checkinteger(L, 2);

    luaL_argcheck(L, mask >= 1 && mask <= 255, 2, "1 to 255 expected");
    return (uint8_t)mask;
}

static int scan_count(lua_State *L)
{
    luaL_Buffer places;
    scanner s = {.mask = check_mask(L), .places = &places};
    FILE *maps = fopen("/proc/self/maps", "re");

    s.masked = luaL_checklstring(L, 1, &s.len);
    s.memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    s.chunk = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    luaL_buffinit(L, &places);
    if (maps != NULL && s.memory >= 0 && s.chunk != MAP_FAILED)
        search_all(&s, maps);
    else
        s.hits = -1;
    if (s.chunk != MAP_FAILED)
        munmap(s.chunk, CHUNK);
    if (s.memory >= 0)
        close(s.memory);
    if (maps != NULL)
        fclose(maps);
    luaL_pushresult(&places);
    lua_pushinteger(L, s.hits);
    lua_insert(L, -2);
    return 2;
}

static int scan_unmask(lua_State *L)
{
    size_t len;
    const char *masked = luaL_checklstring(L, 1, &len);
    uint8_t mask = check_mask(L);
    uint8_t bytes[SECRET_MAX];

    luaL_argcheck(L, len <= sizeof bytes, 1, "too long");
    memcpy(bytes, masked, len);
    mask_bytes(bytes, len, mask);
    lua_pushlstring(L, (const char *)bytes, len);
    mssh_wipe(bytes, len);
    return 1;
}

static const luaL_Reg functions[] = {
    {"count", scan_count},
    {"unmask", scan_unmask},
    {NULL, NULL},
};

int mssh_testing_open_scan(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
