#include "testing/authentication.h"

#include "testing/outbox.h"
#include "testing/util.h"

static mssh_auth *auth_of(lua_State *L)
{
    mssh_testing_auth_of **of = lua_touserdata(L, lua_upvalueindex(1));
    return (*of)(L);
}

/* a:none(user) -> true, or nil, err; and so the others */
static int none(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_auth_none(auth_of(L), mssh_testing_opt_slice(L, 2)));
}

/* a:password(user, password, new_password) */
static int password(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_auth_password(auth_of(L), mssh_testing_opt_slice(L, 2),
                                                          mssh_testing_opt_slice(L, 3),
                                                          mssh_testing_opt_slice(L, 4)));
}

/* a:probe(user, algorithm, blob) */
static int probe(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_auth_probe(auth_of(L), mssh_testing_opt_slice(L, 2),
                                                       mssh_testing_opt_slice(L, 3),
                                                       mssh_testing_opt_slice(L, 4)));
}

mssh_auth_claim mssh_testing_claim(lua_State *L, int index)
{
    return (mssh_auth_claim){
        .user = mssh_testing_opt_slice(L, index),
        .algorithm = mssh_testing_opt_slice(L, index + 1),
        .blob = mssh_testing_opt_slice(L, index + 2),
        .server_key = mssh_testing_opt_slice(L, index + 3),
        .host = mssh_testing_opt_slice(L, index + 4),
        .host_user = mssh_testing_opt_slice(L, index + 5),
    };
}

/* a:publickey(user, algorithm, blob, signature, server_key) */
static int publickey(lua_State *L)
{
    mssh_slice signature = mssh_testing_opt_slice(L, 5);
    mssh_auth_claim claim = mssh_testing_claim(L, 2);

    claim.server_key = mssh_testing_opt_slice(L, 6);
    claim.host = claim.host_user = MSSH_SLICE_EMPTY;
    return mssh_testing_push_result(L, mssh_auth_publickey(auth_of(L), &claim, signature));
}

/* a:hostbased(user, algorithm, blob, signature, host, host_user) */
static int hostbased(lua_State *L)
{
    mssh_slice signature = mssh_testing_opt_slice(L, 5);
    mssh_auth_claim claim = mssh_testing_claim(L, 2);

    claim.server_key = MSSH_SLICE_EMPTY;
    return mssh_testing_push_result(L, mssh_auth_hostbased(auth_of(L), &claim, signature));
}

/* a:interactive(user) */
static int interactive(lua_State *L)
{
    return mssh_testing_push_result(L, mssh_auth_interactive(auth_of(L), mssh_testing_opt_slice(L, 2)));
}

/* a:answer(list) */
static int answer(lua_State *L)
{
    mssh_slice answers[MSSH_AUTH_MAX_PROMPTS + 1];
    size_t n_answers = (size_t)luaL_len(L, 2);

    luaL_argcheck(L, n_answers <= MSSH_AUTH_MAX_PROMPTS + 1, 2, "too long");
    luaL_checkstack(L, (int)n_answers, NULL);
    for (size_t i = 0; i < n_answers; i++) {
        lua_geti(L, 2, (lua_Integer)i + 1);
        answers[i] = mssh_testing_opt_slice(L, -1);
    }
    return mssh_testing_push_result(L, mssh_auth_answer(auth_of(L), answers, n_answers));
}

static const luaL_Reg methods[] = {
    {"none", none},           {"password", password},       {"probe", probe},   {"publickey", publickey},
    {"hostbased", hostbased}, {"interactive", interactive}, {"answer", answer}, {NULL, NULL},
};

void mssh_testing_add_auth_methods(lua_State *L, mssh_testing_auth_of *of)
{
    mssh_testing_auth_of **kept_of = lua_newuserdatauv(L, sizeof *kept_of, 0);
    *kept_of = of;
    luaL_setfuncs(L, methods, 1);
}
