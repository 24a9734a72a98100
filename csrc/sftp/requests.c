#include "sftp/requests.h"

#include "base/error.h"

#include <string.h>

enum { SLOT_BITS = 16, SLOT_MASK = 0xffff, FIRST_SLOTS = 32 };

void mssh_sftp_requests_init(mssh_sftp_requests *requests, mssh_mem *mem)
{
    memset(requests, 0, sizeof *requests);
    requests->mem = mem;
}

void mssh_sftp_requests_free(mssh_sftp_requests *requests)
{
    mssh_free(requests->mem, requests->slots, requests->cap * sizeof *requests->slots);
    mssh_sftp_requests_init(requests, requests->mem);
}

static int grow(mssh_sftp_requests *requests)
{
    uint32_t cap = requests->cap == 0 ? FIRST_SLOTS : requests->cap * 2;
    size_t size = sizeof *requests->slots;
    mssh_sftp_request *slots = mssh_resize(requests->mem, requests->slots, requests->cap * size, cap * size,
                                           requests->n_slots * size);

    if (slots == NULL)
        return MSSH_ERR_MEMORY;
    requests->slots = slots;
    requests->cap = cap;
    return 0;
}

int mssh_sftp_requests_add(mssh_sftp_requests *requests, mssh_sftp_request **request)
{
    mssh_sftp_request *slot;
    uint32_t index, id;

    if (requests->n_used == MSSH_SFTP_REQUESTS_MOST)
        return MSSH_ERR_LIMIT;
    if (requests->first_free != 0) {
        index = requests->first_free - 1;
        slot = &requests->slots[index];
        requests->first_free = slot->next_free;
        id = slot->id + (1U << SLOT_BITS);
    } else {
        int err = requests->n_slots == requests->cap ? grow(requests) : 0;
        if (err != 0)
            return err;
        index = requests->n_slots++;
        slot = &requests->slots[index];
        id = index;
    }
    *slot = (mssh_sftp_request){.id = id, .used = true};
    requests->n_used++;
    *request = slot;
    return 0;
}

mssh_sftp_request *mssh_sftp_requests_find(mssh_sftp_requests *requests, uint32_t id)
{
    uint32_t index = id & SLOT_MASK;

    if (index >= requests->n_slots || !requests->slots[index].used || requests->slots[index].id != id)
        return NULL;
    return &requests->slots[index];
}

void mssh_sftp_requests_remove(mssh_sftp_requests *requests, mssh_sftp_request *request)
{
    request->used = false;
    request->lane = NULL;
    request->next_free = requests->first_free;
    requests->first_free = (uint32_t)(request - requests->slots) + 1;
    requests->n_used--;
}
