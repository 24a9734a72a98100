#include "wire/messages.h"

#include <stddef.h>

static const mssh_message_row rows[] = {
#define MSSH_MESSAGE_ROW(number, name, sender, phases) {(number), (sender), (phases), #name},
    MSSH_MESSAGES(MSSH_MESSAGE_ROW)
#undef MSSH_MESSAGE_ROW
};

const mssh_message_row *mssh_message_find(uint8_t number)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].number == number)
            return &rows[i];
    return NULL;
}

const char *mssh_message_name(uint8_t number)
{
    const mssh_message_row *row = mssh_message_find(number);
    return row != NULL ? row->name : "UNKNOWN";
}
