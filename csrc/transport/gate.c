#include "transport/gate.h"

#include "wire/messages.h"

enum {
    FIRST_OF_KEX = 20,
    FIRST_OF_METHOD = 30,
    LAST_OF_METHOD = 49,
    FIRST_OF_CONNECTION = 80,
    LAST_OF_CONNECTION = 127,
};

/* A number without a row. In strict key exchange every one is an error; before authentication so are those
 * that are kept for what runs after it (RFC 4252 6). */
static mssh_verdict judge_unknown(const mssh_gate *gate, uint8_t number)
{
    bool too_early = (gate->phase & (MSSH_IN_FIRST_KEX | MSSH_IN_AUTH)) != 0 &&
                     number >= FIRST_OF_CONNECTION && number <= LAST_OF_CONNECTION;

    return gate->phase == MSSH_IN_STRICT_KEX || too_early ? MSSH_REJECT : MSSH_ANSWER_UNIMPLEMENTED;
}

mssh_verdict mssh_gate_judge(const mssh_gate *gate, uint8_t number)
{
    const mssh_message_row *row = mssh_message_find(number);
    uint8_t sender = gate->role == MSSH_CLIENT ? MSSH_BY_SERVER : MSSH_BY_CLIENT;

    if (gate->skips_wrong_guess && number >= FIRST_OF_METHOD && number <= LAST_OF_METHOD)
        return MSSH_DROP_GUESS;
    if (row == NULL)
        return judge_unknown(gate, number);
    if ((row->sender & sender) == 0)
        return MSSH_REJECT;
    if (number >= FIRST_OF_KEX && number <= LAST_OF_METHOD)
        return number == gate->expected ? MSSH_LET_IN : MSSH_REJECT;
    return (row->phases & gate->phase) != 0 ? MSSH_LET_IN : MSSH_REJECT;
}
