/* Any text as a key file, with and without a passphrase: no crash, and what is taken can be written and read.
 */
#include "fuzz.h"

static void write_and_read(mssh_mem *mem, const mssh_key *key)
{
    mssh_key *again = NULL;
    mssh_buf out;

    mssh_buf_init(&out, mem, 1 << 20);
    if (mssh_key_is_private(key)) {
        fuzz_require(mssh_key_export(key, MSSH_KEY_OPENSSH, MSSH_SLICE_EMPTY, MSSH_SLICE_EMPTY, &out) == 0);
        fuzz_require(mssh_key_parse_file(mem, mssh_buf_slice(&out), MSSH_SLICE_EMPTY, &again, NULL) == 0);
        fuzz_require(mssh_slice_equals(mssh_key_blob(key), mssh_key_blob(again)));
    } else {
        fuzz_require(mssh_key_parse_public(mem, mssh_key_blob(key), &again, NULL) == 0);
    }
    mssh_key_free(again);
    mssh_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mssh_slice passphrase = MSSH_SLICE_EMPTY;
    mssh_failure failure = {0};
    mssh_key *key = NULL;
    mssh_mem mem;

    if (size == 0)
        return 0;
    if (data[0] & 1)
        passphrase = mssh_slice_of_text("secret");
    mssh_mem_init(&mem, NULL, NULL);
    if (mssh_key_parse_file(&mem, mssh_slice_of(data + 1, size - 1), passphrase, &key, &failure) == 0)
        write_and_read(&mem, key);
    mssh_key_free(key);
    fuzz_require(mem.in_use == 0);
    return 0;
}
