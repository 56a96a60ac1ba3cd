/* LOGIN (draft-murchison-sasl-login): the name, then the password, each asked for. Read by hand, for
 * the reason of server_plain.c. */
#include "sasl/server.h"

enum { LOGIN_USER, LOGIN_PASSWORD };

static sasl_step login_ask(const char *prompt, buffer *output)
{
    return buffer_append_text(output, prompt) == 0 ? SASL_CHALLENGE : SASL_NOMEM;
}

static sasl_step login_step(sasl_server *server, bool has_input, smx_slice input, buffer *output)
{
    if (!has_input)
        return server->stage == LOGIN_USER ? login_ask("Username:", output) : SASL_MALFORMED;
    if (server->stage == LOGIN_USER) {
        if (input.len == 0)
            return SASL_MALFORMED;
        if (!sasl_user_is_valid(input))
            return SASL_FAILURE;
        if (buffer_append(&server->user, input) != 0)
            return SASL_NOMEM;
        server->stage = LOGIN_PASSWORD;
        return login_ask("Password:", output);
    }
    if (input.len == 0 || slice_find(input, '\0') < input.len)
        return SASL_MALFORMED;
    return buffer_append(&server->password, input) == 0 ? SASL_PASSWORD : SASL_NOMEM;
}

const sasl_mechanism sasl_server_login = {.name = "LOGIN", .step = login_step};
