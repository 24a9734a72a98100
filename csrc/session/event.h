/*
 * The events of the layers as events of the session.
 */
#ifndef MSSH_SESSION_EVENT_H
#define MSSH_SESSION_EVENT_H

#include "mssh.h"

/* Each fills *event with an event of its layer, which may be NONE. A PAYLOAD is not for the application:
 * NONE. */
void mssh_event_of_transport(mssh_event *event, const mssh_transport_event *from);
void mssh_event_of_auth(mssh_event *event, const mssh_auth_event *from);
void mssh_event_of_connection(mssh_event *event, const mssh_connection_event *from);

#endif
