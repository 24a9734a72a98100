#include "auth/auth.h"

#include "auth/methods.h"
#include "wire/messages.h"
#include "wire/namelist.h"

/* Longest request: user names, passwords and keys are far below it, and every server takes that much. */
enum { MAX_REQUEST = 65536 };

mssh_auth *mssh_auth_new(mssh_mem *mem, const mssh_outbox *outbox, mssh_failure *failure)
{
    mssh_auth *auth = mssh_alloc(mem, sizeof *auth);

    if (auth == NULL)
        return NULL;
    auth->mem = mem;
    auth->outbox = outbox;
    auth->failure = failure;
    mssh_buf_init(&auth->probed, mem, MAX_REQUEST);
    return auth;
}

void mssh_auth_free(mssh_auth *auth)
{
    if (auth == NULL)
        return;
    mssh_buf_free(&auth->probed);
    mssh_free(auth->mem, auth, sizeof *auth);
}

static int may_request(const mssh_auth *auth)
{
    if (auth->failure->code != 0)
        return auth->failure->code;
    if (auth->succeeded || auth->asked != NULL)
        return MSSH_ERR_STATE;
    return auth->n_attempts < MSSH_AUTH_MAX_ATTEMPTS ? 0 : MSSH_ERR_LIMIT;
}

int mssh_auth_begin(mssh_auth *auth, mssh_auth_kind kind, mssh_slice user, mssh_buf *message)
{
    int err;

    mssh_buf_init(message, auth->mem, MAX_REQUEST);
    err = may_request(auth);
    if (err != 0)
        return err;
    if (user.len > MAX_REQUEST)
        return MSSH_ERR_LIMIT;
    /* A server that handles names as C strings would see another name than we do. */
    if (user.len > 0 && memchr(user.data, 0, user.len) != NULL)
        return MSSH_ERR_STATE;
    mssh_write_u8(message, MSSH_MSG_USERAUTH_REQUEST);
    mssh_write_string(message, user);
    mssh_write_text(message, "ssh-connection");
    mssh_write_text(message, mssh_auth_method_of(kind)->name);
    return message->error;
}

/* RFC 4253 10. byte SSH_MSG_SERVICE_REQUEST, string service name */
static int request_service(mssh_auth *auth)
{
    static const uint8_t message[] = "\5\0\0\0\14ssh-userauth";
    int err;

    if (auth->service != MSSH_AUTH_SERVICE_UNASKED)
        return 0;
    err =
        auth->outbox->send(auth->outbox->self, mssh_slice_of(message, sizeof message - 1), MSSH_SLICE_EMPTY);
    if (err == 0)
        auth->service = MSSH_AUTH_SERVICE_ASKED;
    return err;
}

int mssh_auth_submit(mssh_auth *auth, mssh_auth_kind kind, mssh_buf *message)
{
    const mssh_outbox *outbox = auth->outbox;
    int err = message->error;

    if (err == 0)
        err = request_service(auth);
    if (err == 0 && kind == MSSH_AUTH_BY_PASSWORD)
        err = outbox->send_concealed(outbox->self, mssh_buf_slice(message));
    else if (err == 0)
        err = outbox->send(outbox->self, mssh_buf_slice(message), MSSH_SLICE_EMPTY);
    if (err != 0)
        return err;
    auth->asked = mssh_auth_method_of(kind);
    auth->n_attempts++;
    auth->n_rounds = 0;
    auth->change_open = false;
    auth->prompts_open = false;
    return 0;
}

int mssh_auth_malformed(mssh_auth *auth, const char *message)
{
    return mssh_fail(auth->failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR, "malformed %s",
                     message);
}

static int misplaced(mssh_auth *auth, const char *message)
{
    return mssh_fail(auth->failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR, "unexpected %s%s%s",
                     message, auth->asked != NULL ? " in answer to " : "",
                     auth->asked != NULL ? auth->asked->request : "");
}

/* SERVICE_ACCEPT (RFC 4253 10): string service name */
static int handle_service_accept(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event)
{
    mssh_slice service = mssh_read_string(reader);

    (void)event;
    if (auth->service != MSSH_AUTH_SERVICE_ASKED)
        return misplaced(auth, "SERVICE_ACCEPT");
    if (!mssh_reader_done(reader) || !mssh_slice_is(service, "ssh-userauth"))
        return mssh_auth_malformed(auth, "SERVICE_ACCEPT");
    auth->service = MSSH_AUTH_SERVICE_ACCEPTED;
    return 0;
}

/* USERAUTH_FAILURE (RFC 4252 5.1): name-list methods that can continue, boolean partial success */
static int handle_failure(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event)
{
    mssh_slice continuing = mssh_read_string(reader);
    bool partial = mssh_read_bool(reader);

    if (auth->asked == NULL)
        return misplaced(auth, "USERAUTH_FAILURE");
    if (!mssh_reader_done(reader) || !mssh_namelist_valid(continuing))
        return mssh_auth_malformed(auth, "USERAUTH_FAILURE");
    auth->asked = NULL;
    event->type = MSSH_AUTH_FAILURE;
    event->text = continuing;
    event->partial = partial;
    return 0;
}

/* USERAUTH_SUCCESS (RFC 4252 5.1): no fields */
static int handle_success(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event)
{
    if (auth->asked == NULL || !auth->asked->success_may_answer)
        return misplaced(auth, "USERAUTH_SUCCESS");
    if (!mssh_reader_done(reader))
        return mssh_auth_malformed(auth, "USERAUTH_SUCCESS");
    auth->asked = NULL;
    auth->succeeded = true;
    event->type = MSSH_AUTH_SUCCESS;
    return 0;
}

/* USERAUTH_BANNER (RFC 4252 5.4): string message, string language tag */
static int handle_banner(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event)
{
    mssh_slice text = mssh_read_string(reader);
    mssh_slice language = mssh_read_string(reader);

    if (!mssh_reader_done(reader))
        return mssh_auth_malformed(auth, "USERAUTH_BANNER");
    /* The fields' own length counts as well: a caller that keeps a list of empty banners is safe, too. */
    auth->banner_len += text.len + language.len + 8;
    if (auth->banner_len > MSSH_AUTH_MAX_BANNER)
        return mssh_fail(auth->failure, MSSH_ERR_LIMIT, MSSH_DISCONNECT_PROTOCOL_ERROR,
                         "more than %d bytes of authentication banners", MSSH_AUTH_MAX_BANNER);
    event->type = MSSH_AUTH_BANNER;
    event->text = text;
    event->language = language;
    return 0;
}

static int handle_60(mssh_auth *auth, mssh_reader *reader, mssh_auth_event *event)
{
    const mssh_auth_method *asked = auth->asked;

    if (asked == NULL || asked->handle_60 == NULL)
        return misplaced(auth, "message 60");
    return asked->handle_60(auth, reader, event);
}

static int dispatch(mssh_auth *auth, uint8_t number, mssh_reader *reader, mssh_auth_event *event)
{
    if (number == MSSH_MSG_SERVICE_ACCEPT)
        return handle_service_accept(auth, reader, event);
    if (auth->service != MSSH_AUTH_SERVICE_ACCEPTED || auth->succeeded)
        return misplaced(auth, mssh_message_name(number));
    switch (number) {
    case MSSH_MSG_USERAUTH_FAILURE:
        return handle_failure(auth, reader, event);
    case MSSH_MSG_USERAUTH_SUCCESS:
        return handle_success(auth, reader, event);
    case MSSH_MSG_USERAUTH_BANNER:
        return handle_banner(auth, reader, event);
    case MSSH_MSG_USERAUTH_60:
        return handle_60(auth, reader, event);
    default:
        return misplaced(auth, mssh_message_name(number));
    }
}

int mssh_auth_handle(mssh_auth *auth, mssh_slice payload, mssh_auth_event *event)
{
    mssh_auth_event meaning = {.type = MSSH_AUTH_NONE};
    mssh_reader reader = mssh_reader_of(payload);
    uint8_t number = mssh_read_u8(&reader);
    int err;

    if (auth->failure->code != 0)
        return auth->failure->code;
    err = dispatch(auth, number, &reader, &meaning);
    if (err == 0)
        *event = meaning;
    return err;
}
