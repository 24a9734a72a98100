#include "transport/extinfo.h"

#include "keys/key.h"
#include "wire/messages.h"
#include "wire/namelist.h"
#include "wire/reader.h"
#include "wire/writer.h"

#define SIG_ALGS  "server-sig-algs"
#define HOSTBOUND "publickey-hostbound@openssh.com"

static int reject(mssh_failure *failure, const char *why)
{
    return mssh_fail(failure, MSSH_ERR_PROTOCOL, MSSH_DISCONNECT_PROTOCOL_ERROR, "EXT_INFO: %s", why);
}

/* byte SSH_MSG_EXT_INFO; uint32 nr-extensions; as often: string name, string value */
int mssh_extinfo_parse(mssh_slice payload, mssh_extinfo *info, mssh_failure *failure)
{
    mssh_reader reader = mssh_reader_of(payload);
    mssh_extinfo said = {false, MSSH_SLICE_EMPTY, false};
    uint32_t n_entries;

    (void)mssh_read_u8(&reader);
    n_entries = mssh_read_u32(&reader);
    if (n_entries > MSSH_EXT_INFO_MAX_ENTRIES)
        return reject(failure, "more than 64 extensions");
    for (uint32_t i = 0; i < n_entries; i++) {
        mssh_slice name = mssh_read_string(&reader);
        mssh_slice value = mssh_read_string(&reader);
        if (mssh_slice_is(name, SIG_ALGS)) {
            said.has_sig_algs = true;
            said.sig_algs = value;
        } else if (mssh_slice_is(name, HOSTBOUND)) {
            said.hostbound = mssh_slice_is(value, "0");
        }
    }
    if (!mssh_reader_done(&reader))
        return reject(failure, "cut short or too long");
    if (!mssh_namelist_valid(said.sig_algs))
        return reject(failure, SIG_ALGS " is not a name-list");
    *info = said;
    return 0;
}

/* The i-th algorithm, or NULL where the plain ones end. */
static const mssh_sig_algorithm *plain_at(size_t i)
{
    const mssh_sig_algorithm *row = mssh_sig_algorithm_at(i);

    return row != NULL && mssh_slice_is(mssh_slice_of_text(row->name), row->signed_as) ? row : NULL;
}

int mssh_extinfo_write(mssh_buf *out)
{
    const mssh_sig_algorithm *row;
    size_t len = 0;

    for (size_t i = 0; (row = plain_at(i)) != NULL; i++)
        len += strlen(row->name) + (i > 0 ? 1 : 0);
    mssh_write_u8(out, MSSH_MSG_EXT_INFO);
    mssh_write_u32(out, 1);
    mssh_write_text(out, SIG_ALGS);
    mssh_write_u32(out, (uint32_t)len);
    for (size_t i = 0; (row = plain_at(i)) != NULL; i++) {
        if (i > 0)
            mssh_write_u8(out, ',');
        mssh_write_bytes(out, mssh_slice_of_text(row->name));
    }
    return out->error;
}
