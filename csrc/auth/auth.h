/*
 * User authentication, the client's side (RFC 4252, 4256): builds the requests, parses the answers. Which
 * method and key to try is the caller's policy; private keys are not known here: the caller signs what
 * mssh_auth_signing_data gives.
 */
#ifndef MSSH_AUTH_AUTH_H
#define MSSH_AUTH_AUTH_H

#include "base/buf.h"
#include "base/error.h"
#include "wire/outbox.h"

/* Caps on what the server may send. */
enum {
    MSSH_AUTH_MAX_ATTEMPTS = 20,
    MSSH_AUTH_MAX_PROMPTS = 64,
    MSSH_AUTH_MAX_ROUNDS = 32,
    MSSH_AUTH_MAX_BANNER = 65536, /* bytes in all banners together; MSSH_ERR_LIMIT beyond */
};

typedef enum mssh_auth_event_type {
    MSSH_AUTH_NONE,
    MSSH_AUTH_BANNER, /* text, language */
    MSSH_AUTH_SUCCESS,
    MSSH_AUTH_FAILURE,         /* text: the methods that can continue (a valid name-list), partial */
    MSSH_AUTH_PK_OK,           /* the probed key would be accepted */
    MSSH_AUTH_PASSWORD_CHANGE, /* text: prompt, language */
    MSSH_AUTH_PROMPTS          /* name, instruction, n_prompts; then mssh_auth_prompt for each */
} mssh_auth_event_type;

/* Views are valid until the payload is gone. */
typedef struct mssh_auth_event {
    mssh_auth_event_type type;
    mssh_slice text;
    mssh_slice language;
    mssh_slice name;
    mssh_slice instruction;
    uint32_t n_prompts;
    mssh_slice prompts; /* the fields of all prompts, already checked: string text, boolean echo, … */
    bool partial;
} mssh_auth_event;

typedef struct mssh_auth mssh_auth;

/* A new authentication; sends nothing. memory, outbox and failure are borrowed and must outlive it. NULL when
 * out of memory. */
mssh_auth *mssh_auth_new(mssh_mem *mem, const mssh_outbox *outbox, mssh_failure *failure);

/* Wipes and frees it; NULL is fine. */
void mssh_auth_free(mssh_auth *auth);

/*
 * The requests. Each sends SERVICE_REQUEST "ssh-userauth" first if that was not done, in the same flight;
 * user and names are UTF-8. One request at a time: MSSH_ERR_STATE while one is unanswered; MSSH_ERR_LIMIT
 * past MSSH_AUTH_MAX_ATTEMPTS.
 */

/* Method "none" (RFC 4252 5.2). */
int mssh_auth_none(mssh_auth *auth, mssh_slice user);

/* Method "password" (RFC 4252 8), its length concealed. With `new_password` (data not NULL) it is the answer
 * to PASSWORD_CHANGE. */
int mssh_auth_password(mssh_auth *auth, mssh_slice user, mssh_slice password, mssh_slice new_password);

/* Asks whether a public key would do (RFC 4252 7); PK_OK for another key or algorithm is a protocol error. */
int mssh_auth_probe(mssh_auth *auth, mssh_slice user, mssh_slice algorithm, mssh_slice blob);

/* What a key signs for, as a user's or as a client host's. */
typedef struct mssh_auth_claim {
    mssh_slice user;
    mssh_slice algorithm;
    mssh_slice blob;
    /* The server's host key makes it "publickey-hostbound-v00@openssh.com" (OpenSSH's PROTOCOL 3.4), to be
     * used where EXT_INFO offers that; else empty. */
    mssh_slice server_key;
    /* Of "hostbased" (RFC 4252 9): the client's host name and the user's name there; else empty. */
    mssh_slice host;
    mssh_slice host_user;
} mssh_auth_claim;

/* Appends to *out the bytes that the key must sign for mssh_auth_publickey or mssh_auth_hostbased: the
 * session's identifier, and the request without its signature. */
void mssh_auth_signing_data(mssh_slice session_id, const mssh_auth_claim *claim, mssh_buf *out);

/* Method "publickey" with its signature blob, or its host-bound form. */
int mssh_auth_publickey(mssh_auth *auth, const mssh_auth_claim *claim, mssh_slice signature);

/* Method "hostbased" with the signature of the client's host key. */
int mssh_auth_hostbased(mssh_auth *auth, const mssh_auth_claim *claim, mssh_slice signature);

/* Method "keyboard-interactive" (RFC 4256); PROMPTS follow, answer each with mssh_auth_answer. */
int mssh_auth_interactive(mssh_auth *auth, mssh_slice user);

/* Answers PROMPTS: exactly as many answers as there were prompts, concealed. MSSH_ERR_STATE when none are
 * open or the count differs. */
int mssh_auth_answer(mssh_auth *auth, const mssh_slice *answers, size_t n_answers);

/* Handles one payload from the server (message 6 or 50..79); *event says what it means. A message that does
 * not fit the request in progress is MSSH_ERR_PROTOCOL, recorded in the failure. */
int mssh_auth_handle(mssh_auth *auth, mssh_slice payload, mssh_auth_event *event);

/* Takes the next prompt off event->prompts. False when there is none left. */
bool mssh_auth_prompt(mssh_auth_event *event, mssh_slice *text, bool *echo);

#endif
