#include "transport/kexinit.h"

#include "crypto/rand.h"
#include "wire/messages.h"
#include "wire/namelist.h"
#include "wire/reader.h"
#include "wire/writer.h"

enum { COOKIE_LEN = 16 };

/* What our own KEXINIT carries behind the methods, and what we look for in the peer's, by our role. */
static const char *const our_marks[] = {
    [MSSH_CLIENT] = "ext-info-c,kex-strict-c-v00@openssh.com",
    [MSSH_SERVER] = "ext-info-s,kex-strict-s-v00@openssh.com",
};
static const char *const peer_strict_mark[] = {
    [MSSH_CLIENT] = "kex-strict-s-v00@openssh.com",
    [MSSH_SERVER] = "kex-strict-c-v00@openssh.com",
};
static const char *const peer_ext_info_mark[] = {
    [MSSH_CLIENT] = "ext-info-s",
    [MSSH_SERVER] = "ext-info-c",
};

/* byte SSH_MSG_KEXINIT; byte[16] cookie; ten name-lists; boolean first_kex_packet_follows; uint32 0 */
int mssh_kexinit_parse(mssh_slice payload, mssh_kexinit *kexinit, mssh_failure *failure)
{
    mssh_reader reader = mssh_reader_of(payload);
    mssh_kexinit parsed;

    (void)mssh_read_u8(&reader);
    (void)mssh_read_bytes(&reader, COOKIE_LEN);
    for (int i = 0; i < MSSH_N_LISTS; i++)
        parsed.lists[i] = mssh_read_string(&reader);
    parsed.follows = mssh_read_bool(&reader);
    (void)mssh_read_u32(&reader);
    if (!mssh_reader_done(&reader))
        return mssh_fail(failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED,
                         "KEXINIT is cut short or too long");
    for (int i = 0; i < MSSH_LIST_LANGUAGE; i++)
        if (!mssh_namelist_valid(parsed.lists[i]))
            return mssh_fail(failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_KEY_EXCHANGE_FAILED,
                             "KEXINIT: name-list %d is not well formed", i + 1);
    *kexinit = parsed;
    return 0;
}

int mssh_kexinit_write(mssh_buf *out, mssh_role role, const mssh_slice *lists, bool first)
{
    uint8_t cookie[COOKIE_LEN];
    mssh_slice marks = first ? mssh_slice_of_text(our_marks[role]) : MSSH_SLICE_EMPTY;
    mssh_slice kex = lists[MSSH_ALG_KEX];
    int r = mssh_rand_bytes(cookie, sizeof cookie);

    if (r != 0)
        return r;
    mssh_write_u8(out, MSSH_MSG_KEXINIT);
    mssh_write_bytes(out, mssh_slice_of(cookie, sizeof cookie));
    mssh_write_u32(out, (uint32_t)(kex.len + (first ? 1 + marks.len : 0)));
    mssh_write_bytes(out, kex);
    if (first) {
        mssh_write_u8(out, ',');
        mssh_write_bytes(out, marks);
    }
    mssh_write_string(out, lists[MSSH_ALG_HOST_KEY]);
    for (int direction = 0; direction < 2; direction++)
        mssh_write_string(out, lists[MSSH_ALG_CIPHER]);
    for (int direction = 0; direction < 2; direction++)
        mssh_write_string(out, lists[MSSH_ALG_MAC]);
    for (int direction = 0; direction < 2; direction++)
        mssh_write_string(out, lists[MSSH_ALG_COMPRESSION]);
    for (int direction = 0; direction < 2; direction++)
        mssh_write_text(out, ""); /* languages */
    mssh_write_bool(out, false);
    mssh_write_u32(out, 0);
    return out->error;
}

bool mssh_kexinit_is_strict(const mssh_kexinit *peer, mssh_role our_role)
{
    return mssh_namelist_has(peer->lists[MSSH_LIST_KEX], mssh_slice_of_text(peer_strict_mark[our_role]));
}

bool mssh_kexinit_wants_ext_info(const mssh_kexinit *peer, mssh_role our_role)
{
    return mssh_namelist_has(peer->lists[MSSH_LIST_KEX], mssh_slice_of_text(peer_ext_info_mark[our_role]));
}

/* What is passed down while choosing. */
typedef struct chooser {
    mssh_role our_role;
    const mssh_slice *ours;
    const mssh_kexinit *peer;
    mssh_negotiation_failure *why;
} chooser;

/* The row chosen for a class from one list of the peer; NULL with *why when there is none. The marks are in
 * no table of ours, so they cannot be chosen. */
static const mssh_algorithm *choose(const chooser *c, mssh_algorithm_class cls, int list)
{
    mssh_slice ours = c->ours[cls];
    mssh_slice theirs = c->peer->lists[list];
    bool client = c->our_role == MSSH_CLIENT;
    const mssh_algorithm *row = NULL;
    mssh_slice name;

    if (mssh_namelist_choose(client ? ours : theirs, client ? theirs : ours, &name))
        row = mssh_algorithm_find(cls, name);
    if (row == NULL) {
        c->why->what = mssh_algorithm_class_name(cls);
        c->why->ours = ours;
        c->why->theirs = theirs;
    }
    return row;
}

static bool choose_direction(const chooser *c, int offset, mssh_direction *direction)
{
    direction->cipher = (const mssh_cipher_row *)choose(c, MSSH_ALG_CIPHER, MSSH_LIST_CIPHER + offset);
    if (direction->cipher == NULL)
        return false;
    direction->mac = NULL;
    if (direction->cipher->kind == MSSH_SEAL_MAC) {
        direction->mac = (const mssh_mac_row *)choose(c, MSSH_ALG_MAC, MSSH_LIST_MAC + offset);
        if (direction->mac == NULL)
            return false;
    }
    direction->compression =
        (const mssh_compression_row *)choose(c, MSSH_ALG_COMPRESSION, MSSH_LIST_COMPRESSION + offset);
    return direction->compression != NULL;
}

int mssh_kexinit_choose(mssh_role our_role, const mssh_slice *ours, const mssh_kexinit *peer,
                        mssh_choice *choice, mssh_negotiation_failure *why)
{
    chooser c = {our_role, ours, peer, why};
    const mssh_algorithm *host_key;
    mssh_choice made;

    made.kex = (const mssh_kex_row *)choose(&c, MSSH_ALG_KEX, MSSH_LIST_KEX);
    if (made.kex == NULL)
        return MSSH_ERR_NEGOTIATION;
    host_key = choose(&c, MSSH_ALG_HOST_KEY, MSSH_LIST_HOST_KEY);
    if (host_key == NULL)
        return MSSH_ERR_NEGOTIATION;
    made.host_key = host_key->name;
    if (!choose_direction(&c, 0, &made.to_server) || !choose_direction(&c, 1, &made.to_client))
        return MSSH_ERR_NEGOTIATION;
    *choice = made;
    return 0;
}

static bool same_first(mssh_slice a, mssh_slice b)
{
    mssh_slice first_of_a;
    mssh_slice first_of_b;
    return mssh_namelist_next(&a, &first_of_a) && mssh_namelist_next(&b, &first_of_b) &&
           mssh_slice_equals(first_of_a, first_of_b);
}

bool mssh_kexinit_guess_is_right(const mssh_slice *ours, const mssh_kexinit *peer)
{
    return same_first(ours[MSSH_ALG_KEX], peer->lists[MSSH_LIST_KEX]) &&
           same_first(ours[MSSH_ALG_HOST_KEY], peer->lists[MSSH_LIST_HOST_KEY]);
}
