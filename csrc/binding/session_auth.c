/* The authentication methods of a session. Which one to try, and with what, is decided in Lua. */
#include "binding/session.h"

enum { SIGNING_MOST = 1 << 20 };

static mssh_auth *auth_of(const mssh_lua_session *self)
{
    return mssh_session_auth(self->session);
}

static int session_auth_none(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);

    return mssh_lua_session_result(L, self, mssh_auth_none(auth_of(self), mssh_lua_check_slice(L, 2)));
}

static int session_auth_password(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_slice user = mssh_lua_check_slice(L, 2);
    mssh_slice password = mssh_lua_check_slice(L, 3);
    mssh_slice new_password = mssh_lua_opt_slice(L, 4);

    return mssh_lua_session_result(L, self, mssh_auth_password(auth_of(self), user, password, new_password));
}

static int session_auth_probe(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_slice user = mssh_lua_check_slice(L, 2);
    mssh_slice algorithm = mssh_lua_check_slice(L, 3);
    mssh_slice blob = mssh_lua_check_slice(L, 4);

    return mssh_lua_session_result(L, self, mssh_auth_probe(auth_of(self), user, algorithm, blob));
}

/* Where the arguments of a claim stand: user, algorithm and blob, then the signature if there is one, then
 * host and user of the client for "hostbased". */
enum { USER = 2, ALGORITHM, BLOB };

/* What is claimed for a user's key, bound to the server's where it takes that, or for the client's host key
 * where `host` is the place of its name and a user's. */
static mssh_auth_claim check_claim(lua_State *L, int host)
{
    mssh_transport *transport = mssh_session_transport(mssh_lua_session_check(L)->session);
    mssh_auth_claim claim = {
        .user = mssh_lua_check_slice(L, USER),
        .algorithm = mssh_lua_check_slice(L, ALGORITHM),
        .blob = mssh_lua_check_slice(L, BLOB),
        .host = mssh_lua_opt_slice(L, host),
    };

    if (claim.host.len > 0)
        claim.host_user = mssh_lua_check_slice(L, host + 1);
    else if (mssh_transport_is_hostbound(transport))
        claim.server_key = mssh_transport_host_key(transport);
    return claim;
}

static int session_auth_signing_data(lua_State *L)
{
    const mssh_lua_session *self;
    mssh_auth_claim claim;
    mssh_transport_info info = {0};
    mssh_lua_box *box;

    lua_settop(L, BLOB + 2);
    (void)check_claim(L, BLOB + 1);
    box = mssh_lua_box_new(L, SIGNING_MOST);
    self = mssh_lua_session_check(L); /* again: a finalizer may have closed it */
    claim = check_claim(L, BLOB + 1);
    mssh_transport_info_get(mssh_session_transport(self->session), &info);
    if (info.session_id.len == 0)
        return mssh_lua_session_result(L, self, MSSH_ERR_STATE);
    mssh_auth_signing_data(info.session_id, &claim, &box->buf);
    if (box->buf.error != 0)
        return mssh_lua_session_result(L, self, box->buf.error);
    mssh_lua_push_slice(L, mssh_buf_slice(&box->buf));
    mssh_lua_box_release(box);
    return 1;
}

static int session_auth_publickey(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_slice signature = mssh_lua_check_slice(L, BLOB + 1);
    mssh_auth_claim claim;

    lua_settop(L, BLOB + 1);
    claim = check_claim(L, BLOB + 2);
    return mssh_lua_session_result(L, self, mssh_auth_publickey(auth_of(self), &claim, signature));
}

static int session_auth_hostbased(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_slice signature = mssh_lua_check_slice(L, BLOB + 1);
    mssh_auth_claim claim = check_claim(L, BLOB + 2);

    return mssh_lua_session_result(L, self, mssh_auth_hostbased(auth_of(self), &claim, signature));
}

static int session_auth_interactive(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);

    return mssh_lua_session_result(L, self, mssh_auth_interactive(auth_of(self), mssh_lua_check_slice(L, 2)));
}

/* The views stay valid because the table holds the strings; a number would be converted to one that it does
 * not hold, so strings alone are taken. */
static int session_auth_answer(lua_State *L)
{
    const mssh_lua_session *self = mssh_lua_session_check(L);
    mssh_slice answers[MSSH_AUTH_MAX_PROMPTS];
    size_t n;

    luaL_checktype(L, 2, LUA_TTABLE);
    n = (size_t)lua_rawlen(L, 2);
    luaL_argcheck(L, n <= MSSH_AUTH_MAX_PROMPTS, 2, "too many answers");
    for (size_t i = 0; i < n; i++) {
        luaL_argcheck(L, lua_rawgeti(L, 2, (lua_Integer)i + 1) == LUA_TSTRING, 2, "answers are strings");
        answers[i].data = (const uint8_t *)lua_tolstring(L, -1, &answers[i].len);
        lua_pop(L, 1);
    }
    return mssh_lua_session_result(L, self, mssh_auth_answer(auth_of(self), answers, n));
}

const luaL_Reg mssh_lua_session_auth_methods[] = {
    {"auth_none", session_auth_none},
    {"auth_password", session_auth_password},
    {"auth_probe", session_auth_probe},
    {"auth_signing_data", session_auth_signing_data},
    {"auth_publickey", session_auth_publickey},
    {"auth_interactive", session_auth_interactive},
    {"auth_hostbased", session_auth_hostbased},
    {"auth_answer", session_auth_answer},
    {NULL, NULL},
};
