#include "connection/window.h"

#include "connection/channel.h"
#include "wire/messages.h"

#include <string.h>

/* One stop may be chance (a message that happens to end there), two in a row hardly are. */
enum { STOPS_TO_GROW = 2 };

uint32_t mssh_window_size(uint32_t wanted)
{
    return (wanted - 1) | 1;
}

static void push_edge(mssh_window *window)
{
    if (window->n_edges == MSSH_WINDOW_EDGES) {
        window->n_edges--;
        memmove(&window->edges[0], &window->edges[1], window->n_edges * sizeof window->edges[0]);
    }
    window->edges[window->n_edges++] = window->received + window->left;
}

static void drop_edge(mssh_window *window)
{
    window->n_edges--;
    memmove(&window->edges[0], &window->edges[1], window->n_edges * sizeof window->edges[0]);
}

void mssh_window_init(mssh_window *window, uint32_t size)
{
    memset(window, 0, sizeof *window);
    window->size = size;
    window->left = size;
    push_edge(window);
}

static uint32_t unconsumed(const mssh_window *window)
{
    return window->size - window->left - window->owed;
}

bool mssh_window_receive(mssh_window *window, size_t len)
{
    bool read_up = unconsumed(window) <= window->size / 4;

    if (len > window->left)
        return false;
    window->left -= (uint32_t)len;
    window->received += len;
    while (window->n_edges > 0 && window->edges[0] < window->received) {
        drop_edge(window);
        window->n_stops = 0;
    }
    if (window->n_edges > 0 && window->edges[0] == window->received) {
        drop_edge(window);
        if (read_up) /* else the peer waits for the reader, not for the path */
            window->n_stops++;
    }
    return true;
}

void mssh_window_consume(mssh_window *window, size_t len)
{
    uint32_t most = unconsumed(window);
    window->owed += len < most ? (uint32_t)len : most;
}

/* A quarter of the window at a time keeps a long path filled and costs a small message in many large ones.
 * Where unread data of the other stream hold most of the window, the peer gets what there is before it runs
 * dry. */
uint32_t mssh_window_due(const mssh_window *window)
{
    return window->owed >= window->size / 4 || window->owed >= window->left ? window->owed : 0;
}

void mssh_window_grant(mssh_window *window, uint32_t len)
{
    window->owed -= len;
    window->left += len;
    push_edge(window);
}

bool mssh_window_is_short(const mssh_window *window)
{
    return window->n_stops >= STOPS_TO_GROW;
}

void mssh_window_grow(mssh_window *window, uint32_t more)
{
    window->n_stops = 0;
    if (more == 0)
        return;
    window->size += more;
    window->owed += more;
    /* Stops at the old edges are still to come and say nothing of the new size. */
    window->n_edges = 0;
}

/* Makes a window larger, as far as the limits of the channel and of all channels allow. */
static void grow_to(mssh_connection *connection, mssh_window *window, uint32_t target)
{
    uint32_t more = target > window->size ? mssh_connection_window(connection, target - window->size) : 0;

    more &= ~UINT32_C(1); /* sizes stay odd */
    mssh_window_grow(window, more);
    connection->total_window += more;
}

/* Doubles a window that is too short for the path. */
static void grow_to_need(mssh_connection *connection, mssh_window *window)
{
    uint32_t most = connection->options.max_window;

    grow_to(connection, window, window->size < most / 2 ? window->size * 2 + 1 : mssh_window_size(most));
}

void mssh_channel_widen(mssh_connection *connection, mssh_channel channel, uint32_t size)
{
    mssh_channel_slot *slot = mssh_channel_find(connection, channel);
    uint32_t most = connection->options.max_window;

    if (slot == NULL || slot->window.size >= mssh_window_size(size < most ? size : most))
        return;
    grow_to(connection, &slot->window, mssh_window_size(size < most ? size : most));
    mssh_channel_settle(connection, slot);
}

void mssh_channel_settle(mssh_connection *connection, mssh_channel_slot *slot)
{
    mssh_head head = mssh_head_of(MSSH_MSG_CHANNEL_WINDOW_ADJUST);
    uint32_t due;

    if (slot->phase != MSSH_CHANNEL_OPEN || slot->eof_received || slot->close_sent)
        return;
    if (mssh_window_is_short(&slot->window))
        grow_to_need(connection, &slot->window);
    due = mssh_window_due(&slot->window);
    if (due == 0)
        return;
    mssh_head_u32(&head, slot->peer_id);
    mssh_head_u32(&head, due);
    if (mssh_head_send(&head, connection, MSSH_SLICE_EMPTY) == 0)
        mssh_window_grant(&slot->window, due);
}

/* CHANNEL_WINDOW_ADJUST (RFC 4254 5.2): uint32 bytes to add */
int mssh_handle_window_adjust(mssh_connection *connection, mssh_channel_slot *slot, mssh_reader *reader,
                              mssh_connection_event *event)
{
    uint32_t more = mssh_read_u32(reader);

    if (!mssh_reader_done(reader))
        return mssh_connection_malformed(connection, MSSH_MSG_CHANNEL_WINDOW_ADJUST);
    if (more > UINT32_MAX - slot->send_window)
        return mssh_connection_reject(connection, slot, "window over 2^32-1 bytes");
    slot->send_window += more;
    if (more > 0 && !slot->eof_sent && !slot->close_sent) {
        event->type = MSSH_CONNECTION_WINDOW;
        event->channel = mssh_channel_handle(slot);
    }
    return 0;
}
