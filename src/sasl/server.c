/* The server's side of an exchange: the mechanisms' table, and what holds for all of them. Each
 * exchange owns its name, its password and, for SCRAM, a libgsasl context of its own: making one
 * takes about a microsecond, and nothing is shared between threads. */
#include "sasl/server.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "smx/proto.h"

static const sasl_mechanism *const sasl_mechanisms[] = {&sasl_server_scram, &sasl_server_plain,
                                                        &sasl_server_login};

int sasl_server_new(smx_slice mechanism, sasl_secret_fn *secret, void *arg, sasl_server **server)
{
    const sasl_mechanism *found = NULL;
    for (size_t i = 0; i < sizeof(sasl_mechanisms) / sizeof(sasl_mechanisms[0]); i++)
        if (slice_equal_nocase(mechanism, slice_of_text(sasl_mechanisms[i]->name)))
            found = sasl_mechanisms[i];
    if (found == NULL)
        return SMX_E_UNSUPPORTED;
    sasl_server *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return SMX_E_NOMEM;
    s->mechanism = found;
    s->secret = secret;
    s->secret_arg = arg;
    int error = found->start == NULL ? 0 : found->start(s);
    if (error != 0) {
        sasl_server_free(s);
        return error;
    }
    *server = s;
    return 0;
}

void sasl_server_free(sasl_server *server)
{
    if (server == NULL)
        return;
    if (server->session != NULL)
        gsasl_finish(server->session);
    if (server->gsasl != NULL)
        gsasl_done(server->gsasl);
    if (server->password.data != NULL)
        OPENSSL_cleanse(server->password.data, server->password.capacity);
    buffer_free(&server->password);
    buffer_free(&server->user);
    free(server);
}

bool sasl_user_is_valid(smx_slice user)
{
    for (size_t i = 0; i < user.len; i++)
        if ((unsigned char)user.data[i] < ' ' || user.data[i] == 0x7f)
            return false;
    return user.len > 0 && smx_utf8_is_valid(user);
}

sasl_step sasl_server_step(sasl_server *server, bool has_input, smx_slice input, buffer *output)
{
    if (server->is_over)
        return SASL_FAILURE;
    /* RFC 4954 section 4: a mechanism whose client speaks first is asked with an empty challenge. */
    if (!has_input && server->mechanism->client_first)
        return server->stage == 0 ? SASL_CHALLENGE : SASL_MALFORMED;
    sasl_step step = server->mechanism->step(server, has_input, input, output);
    server->is_over = step != SASL_CHALLENGE;
    return step;
}

smx_slice sasl_server_user(const sasl_server *server)
{
    return buffer_slice(&server->user);
}

smx_slice sasl_server_password(const sasl_server *server)
{
    return buffer_slice(&server->password);
}
