#include "wire/namelist.h"

bool mssh_namelist_next(mssh_slice *list, mssh_slice *name)
{
    const uint8_t *comma;

    if (list->len == 0)
        return false;
    comma = memchr(list->data, ',', list->len);
    if (comma == NULL) {
        *name = *list;
        *list = MSSH_SLICE_EMPTY;
        return true;
    }
    *name = mssh_slice_of(list->data, (size_t)(comma - list->data));
    list->data = comma + 1;
    list->len -= name->len + 1;
    return true;
}

bool mssh_namelist_has(mssh_slice list, mssh_slice name)
{
    mssh_slice each;
    while (mssh_namelist_next(&list, &each))
        if (mssh_slice_equals(each, name))
            return true;
    return false;
}

bool mssh_namelist_valid(mssh_slice list)
{
    size_t name_len = 0;
    size_t n_names = 1;

    if (list.len == 0)
        return true;
    for (size_t i = 0; i < list.len; i++) {
        uint8_t c = list.data[i];
        if (c == ',') {
            if (name_len == 0 || ++n_names > MSSH_NAMELIST_MAX_NAMES)
                return false;
            name_len = 0;
        } else if (c <= 0x20 || c >= 0x7f || ++name_len > MSSH_NAME_MAX) {
            return false;
        }
    }
    return name_len > 0;
}

bool mssh_namelist_choose(mssh_slice preferred, mssh_slice offered, mssh_slice *chosen)
{
    mssh_slice name;
    while (mssh_namelist_next(&preferred, &name)) {
        if (mssh_namelist_has(offered, name)) {
            *chosen = name;
            return true;
        }
    }
    return false;
}
