/* PLAIN (RFC 4616): everything in one message. Read by hand: libgsasl would ask for the verdict in a
 * callback, and ours comes later, from the pool. */
#include "sasl/server.h"

static sasl_step plain_step(sasl_server *server, bool has_input, smx_slice input, buffer *output)
{
    (void)has_input;
    (void)output;
    smx_slice authorization;
    smx_slice user;
    smx_slice rest = input;
    if (!slice_cut(&rest, '\0', &authorization) || !slice_cut(&rest, '\0', &user) ||
        rest.len == 0 || user.len == 0 || slice_find(rest, '\0') < rest.len)
        return SASL_MALFORMED;
    if (!sasl_user_is_valid(user))
        return SASL_FAILURE;
    if (authorization.len > 0 && !slice_equal(authorization, user))
        return SASL_FAILURE;
    if (buffer_append(&server->user, user) != 0 || buffer_append(&server->password, rest) != 0)
        return SASL_NOMEM;
    return SASL_PASSWORD;
}

const sasl_mechanism sasl_server_plain = {
    .name = "PLAIN", .client_first = true, .step = plain_step};
