#include "session/event.h"

static const mssh_event_type transport_types[] = {
    [MSSH_TRANSPORT_NONE] = MSSH_EVENT_NONE,
    [MSSH_TRANSPORT_PAYLOAD] = MSSH_EVENT_NONE,
    [MSSH_TRANSPORT_IGNORE] = MSSH_EVENT_IGNORE,
    [MSSH_TRANSPORT_DEBUG] = MSSH_EVENT_DEBUG,
    [MSSH_TRANSPORT_DISCONNECT] = MSSH_EVENT_DISCONNECT,
    [MSSH_TRANSPORT_UNIMPLEMENTED] = MSSH_EVENT_UNIMPLEMENTED,
    [MSSH_TRANSPORT_HOST_KEY] = MSSH_EVENT_HOST_KEY,
    [MSSH_TRANSPORT_MAC_ERROR] = MSSH_EVENT_MAC_ERROR,
    [MSSH_TRANSPORT_KEX_DONE] = MSSH_EVENT_KEX_DONE,
    [MSSH_TRANSPORT_FAILED] = MSSH_EVENT_FAILED,
};

static const mssh_event_type auth_types[] = {
    [MSSH_AUTH_NONE] = MSSH_EVENT_NONE,
    [MSSH_AUTH_BANNER] = MSSH_EVENT_BANNER,
    [MSSH_AUTH_SUCCESS] = MSSH_EVENT_AUTH_SUCCESS,
    [MSSH_AUTH_FAILURE] = MSSH_EVENT_AUTH_FAILURE,
    [MSSH_AUTH_PK_OK] = MSSH_EVENT_AUTH_PK_OK,
    [MSSH_AUTH_PASSWORD_CHANGE] = MSSH_EVENT_AUTH_PASSWORD_CHANGE,
    [MSSH_AUTH_PROMPTS] = MSSH_EVENT_AUTH_PROMPTS,
};

static const mssh_event_type connection_types[] = {
    [MSSH_CONNECTION_NONE] = MSSH_EVENT_NONE,
    [MSSH_CONNECTION_OPENED] = MSSH_EVENT_OPENED,
    [MSSH_CONNECTION_ASKED] = MSSH_EVENT_ASKED,
    [MSSH_CONNECTION_OPEN_FAILED] = MSSH_EVENT_OPEN_FAILED,
    [MSSH_CONNECTION_DATA] = MSSH_EVENT_DATA,
    [MSSH_CONNECTION_WINDOW] = MSSH_EVENT_WINDOW,
    [MSSH_CONNECTION_EOF] = MSSH_EVENT_CHANNEL_EOF,
    [MSSH_CONNECTION_CLOSED] = MSSH_EVENT_CHANNEL_CLOSED,
    [MSSH_CONNECTION_REPLY] = MSSH_EVENT_REPLY,
    [MSSH_CONNECTION_EXIT_STATUS] = MSSH_EVENT_EXIT_STATUS,
    [MSSH_CONNECTION_EXIT_SIGNAL] = MSSH_EVENT_EXIT_SIGNAL,
    [MSSH_CONNECTION_REQUEST] = MSSH_EVENT_REQUEST,
    [MSSH_CONNECTION_GLOBAL_REPLY] = MSSH_EVENT_GLOBAL_REPLY,
    [MSSH_CONNECTION_GLOBAL_REQUEST] = MSSH_EVENT_GLOBAL_REQUEST,
};

void mssh_event_of_transport(mssh_event *event, const mssh_transport_event *from)
{
    event->type = transport_types[from->type];
    event->transport = *from;
}

void mssh_event_of_auth(mssh_event *event, const mssh_auth_event *from)
{
    event->type = auth_types[from->type];
    event->auth = *from;
}

void mssh_event_of_connection(mssh_event *event, const mssh_connection_event *from)
{
    event->type = connection_types[from->type];
    event->connection = *from;
}
