/* core.key: keys as objects, from blobs and files. */
#include "binding/binding.h"
#include "keys/certificate.h"
#include "keys/known_hosts.h"

enum { SIGNATURE_MOST = 64 * 1024, EXPORT_MOST = 1 << 20, HASHES_MOST = 256 };

typedef struct key_object {
    mssh_lua_object object;
    mssh_mem mem; /* the key's memory: each key has its own, so that none outlives it */
    mssh_key *key;
} key_object;

static void key_release(void *object)
{
    key_object *self = object;

    mssh_key_free(self->key);
    self->key = NULL;
}

static int key_type(lua_State *L);
static int key_bits(lua_State *L);
static int key_is_private(lua_State *L);
static int key_blob(lua_State *L);
static int key_plain_blob(lua_State *L);
static int key_certificate(lua_State *L);
static int key_comment(lua_State *L);
static int key_sign(lua_State *L);
static int key_verify(lua_State *L);
static int key_export(lua_State *L);
static int key_private_fields(lua_State *L);

static const luaL_Reg methods[] = {
    {"type", key_type},
    {"bits", key_bits},
    {"is_private", key_is_private},
    {"blob", key_blob},
    {"comment", key_comment},
    {"sign", key_sign},
    {"verify", key_verify},
    {"export", key_export},
    {"plain_blob", key_plain_blob},
    {"certificate", key_certificate},
    {"private_fields", key_private_fields},
    {NULL, NULL},
};

static const mssh_lua_class key_class = {
    .name = "moonssh.core.key",
    .tag = 0x6b657921,
    .size = sizeof(key_object),
    .release = key_release,
    .methods = {methods},
};

static const mssh_key *check_key(lua_State *L)
{
    const key_object *self = mssh_lua_object_check(L, 1, &key_class);

    return self->key;
}

static key_object *push_key(lua_State *L)
{
    key_object *self = mssh_lua_object_new(L, &key_class, 0);

    mssh_lua_mem_init(L, &self->mem);
    return self;
}

static int core_parse_public(lua_State *L)
{
    mssh_slice blob = mssh_lua_check_slice(L, 1);
    lua_Integer min_rsa_bits = luaL_optinteger(L, 2, 0);
    key_object *self = push_key(L);
    mssh_failure failure = {0};
    int status;

    luaL_argcheck(L, min_rsa_bits >= 0 && min_rsa_bits <= MSSH_RSA_MAX_BITS, 2, "out of range");
    status = mssh_key_parse_public_from(&self->mem, blob, (unsigned)min_rsa_bits, &self->key, &failure);

    return status == 0 ? 1 : mssh_lua_push_failure(L, status, &failure);
}

static int core_parse_file(lua_State *L)
{
    mssh_slice text = mssh_lua_check_slice(L, 1);
    mssh_slice passphrase = mssh_lua_opt_slice(L, 2);
    key_object *self = push_key(L);
    mssh_failure failure = {0};
    int status = mssh_key_parse_file(&self->mem, text, passphrase, &self->key, &failure);

    return status == 0 ? 1 : mssh_lua_push_failure(L, status, &failure);
}

static int core_generate(lua_State *L)
{
    static const char *const types[] = {"ed25519", "ecdsa", "rsa", NULL};
    const char *type = types[luaL_checkoption(L, 1, NULL, types)];
    unsigned bits = (unsigned)mssh_lua_opt_range(L, 2, 0, 0, MSSH_RSA_MAX_BITS);
    key_object *self = push_key(L);
    mssh_failure failure = {0};
    int status = mssh_key_generate(&self->mem, type, bits, &self->key, &failure);

    return status == 0 ? 1 : mssh_lua_push_failure(L, status, &failure);
}

static int core_fingerprint(lua_State *L)
{
    static const char *const names[] = {"sha256", "md5", NULL};
    static const mssh_hash_id ids[] = {MSSH_HASH_SHA256, MSSH_HASH_MD5};
    mssh_slice blob = mssh_lua_check_slice(L, 1);
    mssh_hash_id id = ids[luaL_checkoption(L, 2, "sha256", names)];
    char text[128];
    int status = mssh_key_fingerprint(blob, id, text, sizeof text);

    if (status != 0)
        return mssh_lua_push_failure(L, status, NULL);
    lua_pushstring(L, text);
    return 1;
}

static int core_algorithms(lua_State *L)
{
    const mssh_sig_algorithm *row;

    lua_newtable(L);
    for (size_t i = 0; (row = mssh_sig_algorithm_at(i)) != NULL; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, row->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, row->key_type);
        lua_setfield(L, -2, "key_type");
        lua_pushstring(L, row->signed_as);
        lua_setfield(L, -2, "signed_as");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int key_type(lua_State *L)
{
    lua_pushstring(L, mssh_key_type(check_key(L)));
    return 1;
}

static int key_bits(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)mssh_key_bits(check_key(L)));
    return 1;
}

static int key_is_private(lua_State *L)
{
    lua_pushboolean(L, mssh_key_is_private(check_key(L)));
    return 1;
}

static int key_blob(lua_State *L)
{
    mssh_lua_push_slice(L, mssh_key_blob(check_key(L)));
    return 1;
}

static int key_plain_blob(lua_State *L)
{
    mssh_lua_push_slice(L, mssh_key_plain_blob(check_key(L)));
    return 1;
}

/* Looked up anew for each value: making the one before may have run a finalizer that closed the key. */
static const mssh_certificate *check_certificate(lua_State *L)
{
    const mssh_certificate *certificate = mssh_key_certificate(check_key(L));

    if (certificate == NULL)
        luaL_error(L, "no certificate");
    return certificate;
}

static int key_certificate(lua_State *L)
{
    luaL_checkstack(L, 12, NULL);
    if (mssh_key_certificate(check_key(L)) == NULL)
        return 0;
    lua_pushstring(L, check_certificate(L)->use == MSSH_CERTIFICATE_HOST ? "host" : "user");
    lua_pushinteger(L, (lua_Integer)check_certificate(L)->serial);
    mssh_lua_push_slice(L, check_certificate(L)->key_id);
    mssh_lua_push_slice(L, check_certificate(L)->principals);
    lua_pushinteger(L, (lua_Integer)check_certificate(L)->valid_after);
    lua_pushinteger(L, (lua_Integer)check_certificate(L)->valid_before);
    mssh_lua_push_slice(L, check_certificate(L)->critical);
    mssh_lua_push_slice(L, check_certificate(L)->extensions);
    mssh_lua_push_slice(L, check_certificate(L)->authority);
    mssh_lua_push_slice(L, check_certificate(L)->signed_as);
    return 10;
}

static int key_comment(lua_State *L)
{
    mssh_lua_push_slice(L, mssh_key_comment(check_key(L)));
    return 1;
}

/* Pushes what the box holds, or the error. */
static int push_box(lua_State *L, mssh_lua_box *box, int status)
{
    if (status == 0)
        status = box->buf.error;
    if (status != 0)
        return mssh_lua_push_failure(L, status, NULL);
    mssh_lua_push_slice(L, mssh_buf_slice(&box->buf));
    mssh_lua_box_release(box);
    return 1;
}

static int key_sign(lua_State *L)
{
    mssh_slice data, algorithm;
    mssh_lua_box *box;

    (void)check_key(L); /* and again below: making the box may run a finalizer that closes the key */
    data = mssh_lua_check_slice(L, 2);
    algorithm = mssh_lua_check_slice(L, 3);
    box = mssh_lua_box_new(L, SIGNATURE_MOST);
    return push_box(L, box, mssh_key_sign(check_key(L), algorithm, data, &box->buf));
}

static int key_verify(lua_State *L)
{
    const mssh_key *key = check_key(L);
    mssh_slice data = mssh_lua_check_slice(L, 2);
    mssh_slice signature = mssh_lua_check_slice(L, 3);
    mssh_slice algorithm = mssh_lua_check_slice(L, 4);

    lua_pushboolean(L, mssh_key_verify(key, algorithm, data, signature) == 0);
    return 1;
}

static int key_export(lua_State *L)
{
    static const char *const names[] = {"openssh", "pem", "pkcs8", NULL};
    static const mssh_key_format formats[] = {MSSH_KEY_OPENSSH, MSSH_KEY_PEM, MSSH_KEY_PKCS8};
    mssh_slice passphrase, comment;
    mssh_key_format format;
    mssh_lua_box *box;

    (void)check_key(L); /* and again below, as above */
    passphrase = mssh_lua_opt_slice(L, 2);
    comment = mssh_lua_opt_slice(L, 3);
    format = formats[luaL_checkoption(L, 4, "openssh", names)];
    box = mssh_lua_box_new(L, EXPORT_MOST);
    return push_box(L, box, mssh_key_export(check_key(L), format, passphrase, comment, &box->buf));
}

static int key_private_fields(lua_State *L)
{
    mssh_lua_box *box;

    (void)check_key(L); /* and again below, as above */
    box = mssh_lua_box_new(L, EXPORT_MOST);
    return push_box(L, box, mssh_key_write_private(check_key(L), &box->buf));
}

static int core_known_lines(lua_State *L)
{
    mssh_known_hosts search = mssh_known_hosts_of(mssh_lua_check_slice(L, 1));
    mssh_slice name = mssh_lua_check_slice(L, 2);
    mssh_lua_box *box = mssh_lua_box_new(L, HASHES_MOST);
    lua_Integer n = 0;
    int status;

    lua_newtable(L);
    while ((status = mssh_known_hosts_next(&search, name, &box->buf)) == 1) {
        lua_pushinteger(L, (lua_Integer)search.number);
        lua_rawseti(L, -2, ++n);
        mssh_lua_push_slice(L, search.line);
        lua_rawseti(L, -2, ++n);
    }
    mssh_lua_box_release(box);
    return status == 0 ? 1 : mssh_lua_push_failure(L, status, NULL);
}

static const luaL_Reg functions[] = {
    {"parse_public", core_parse_public},
    {"parse_file", core_parse_file},
    {"generate", core_generate},
    {"fingerprint", core_fingerprint},
    {"algorithms", core_algorithms},
    {"known_lines", core_known_lines},
    {NULL, NULL},
};

void mssh_lua_open_key(lua_State *L)
{
    mssh_lua_class_open(L, &key_class);
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "key");
}
