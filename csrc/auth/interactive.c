#include "auth/methods.h"
#include "wire/messages.h"

/* Longest INFO_RESPONSE. */
enum { MAX_ANSWER = 65536 };

/* RFC 4256 3.1: string language tag (deprecated, empty), string submethods (empty: the server chooses) */
int mssh_auth_interactive(mssh_auth *auth, mssh_slice user)
{
    mssh_buf message;
    int err = mssh_auth_begin(auth, MSSH_AUTH_BY_INTERACTIVE, user, &message);

    if (err == 0) {
        mssh_write_text(&message, "");
        mssh_write_text(&message, "");
        err = mssh_auth_submit(auth, MSSH_AUTH_BY_INTERACTIVE, &message);
    }
    mssh_buf_free(&message);
    return err;
}

static void read_prompt(mssh_reader *reader, mssh_slice *text, bool *echo)
{
    *text = mssh_read_string(reader);
    *echo = mssh_read_bool(reader);
}

/* USERAUTH_INFO_REQUEST (RFC 4256 3.2): string name, string instruction, string language tag, int number of
 * prompts, and for each: string prompt, boolean echo */
int mssh_auth_handle_prompts(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event)
{
    mssh_slice name = mssh_read_string(reader);
    mssh_slice instruction = mssh_read_string(reader);
    mssh_slice language = mssh_read_string(reader);
    uint32_t n_prompts = mssh_read_u32(reader);
    mssh_slice prompts = mssh_slice_of(reader->at, mssh_reader_left(reader));

    if (n_prompts > MSSH_AUTH_MAX_PROMPTS)
        return mssh_fail(auth->failure, MSSH_ERR_LIMIT, MSSH_DISCONNECT_PROTOCOL_ERROR,
                         "%lu prompts in one request, at most %d are accepted", (unsigned long)n_prompts,
                         MSSH_AUTH_MAX_PROMPTS);
    if (auth->n_rounds >= MSSH_AUTH_MAX_ROUNDS)
        return mssh_fail(auth->failure, MSSH_ERR_LIMIT, MSSH_DISCONNECT_PROTOCOL_ERROR,
                         "more than %d rounds of prompts", MSSH_AUTH_MAX_ROUNDS);
    for (uint32_t i = 0; i < n_prompts; i++) {
        mssh_slice text;
        bool echo;
        read_prompt(reader, &text, &echo);
    }
    if (!mssh_reader_done(reader))
        return mssh_auth_malformed(auth, "USERAUTH_INFO_REQUEST");
    auth->asked = NULL;
    auth->prompts_open = true;
    auth->n_prompts = n_prompts;
    auth->n_rounds++;
    event->type = MSSH_AUTH_PROMPTS;
    event->name = name;
    event->instruction = instruction;
    event->language = language;
    event->n_prompts = n_prompts;
    event->prompts = prompts;
    return 0;
}

bool mssh_auth_prompt(mssh_auth_event *event, mssh_slice *text, bool *echo)
{
    mssh_reader reader = mssh_reader_of(event->prompts);
    mssh_slice prompt;
    bool visible;

    if (event->prompts.len == 0)
        return false;
    read_prompt(&reader, &prompt, &visible);
    if (!mssh_reader_ok(&reader))
        return false;
    *text = prompt;
    *echo = visible;
    event->prompts = mssh_read_rest(&reader);
    return true;
}

/* USERAUTH_INFO_RESPONSE (RFC 4256 3.4): int number of responses, and each as a string */
int mssh_auth_answer(mssh_auth *auth, const mssh_slice *answers, size_t n_answers)
{
    mssh_buf message;
    int err;

    if (auth->failure->code != 0)
        return auth->failure->code;
    if (!auth->prompts_open || n_answers != auth->n_prompts)
        return MSSH_ERR_STATE;
    mssh_buf_init(&message, auth->mem, MAX_ANSWER);
    mssh_write_u8(&message, MSSH_MSG_USERAUTH_INFO_RESPONSE);
    mssh_write_u32(&message, (uint32_t)n_answers);
    for (size_t i = 0; i < n_answers; i++)
        mssh_write_string(&message, answers[i]);
    err = message.error;
    if (err == 0)
        err = auth->outbox->send_concealed(auth->outbox->self, mssh_buf_slice(&message));
    mssh_buf_free(&message);
    if (err != 0)
        return err;
    auth->prompts_open = false;
    auth->asked = mssh_auth_method_of(MSSH_AUTH_BY_INTERACTIVE);
    return 0;
}
