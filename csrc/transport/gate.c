#include "transport/gate.h"

#include "wire/messages.h"

enum { FIRST_OF_KEX = 20, FIRST_OF_METHOD = 30, LAST_OF_METHOD = 49 };

mssh_verdict mssh_gate_judge(const mssh_gate *gate, uint8_t number)
{
    const mssh_message_row *row = mssh_message_find(number);
    uint8_t sender = gate->role == MSSH_CLIENT ? MSSH_BY_SERVER : MSSH_BY_CLIENT;

    if (gate->skips_wrong_guess && number >= FIRST_OF_METHOD && number <= LAST_OF_METHOD)
        return MSSH_DROP_GUESS;
    if (row == NULL)
        return gate->phase == MSSH_IN_STRICT_KEX ? MSSH_REJECT : MSSH_ANSWER_UNIMPLEMENTED;
    if ((row->sender & sender) == 0)
        return MSSH_REJECT;
    if (number >= FIRST_OF_KEX && number <= LAST_OF_METHOD)
        return number == gate->expected ? MSSH_LET_IN : MSSH_REJECT;
    return (row->phases & gate->phase) != 0 ? MSSH_LET_IN : MSSH_REJECT;
}
