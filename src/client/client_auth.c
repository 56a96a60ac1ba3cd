/* AUTH towards a server: which mechanism, whether the credentials may leave at all, and the exchange
 * of octets (RFC 4954, DESIGN 4.16). */
#include "client/client_internal.h"

static bool client_is_local(const smx_client *client)
{
    const smx_address *peer = connection_peer(client->connection);
    static const uint8_t ipv6_loopback[16] = {[15] = 1};
    return peer->family == 1 || (peer->family == 4 && peer->octets[0] == 127) ||
           (peer->family == 6 && memcmp(peer->octets, ipv6_loopback, sizeof(ipv6_loopback)) == 0);
}

/* Credentials leave in verified TLS, to this machine, or where the operator said so. */
static const char *client_auth_objection(const smx_client *client)
{
    connection_tls_info tls;
    if (client->options.allow_insecure_auth || client_is_local(client))
        return NULL;
    if (!connection_get_tls_info(client->connection, &tls))
        return "the password is not sent on clear text: use smtp+tls:// or smtps://, or set "
               "allow_insecure_auth";
    if (!tls.verified && client->options.pin_count == 0)
        return "the password is not sent to a server whose certificate is not verified: name its "
               "CA with `ca`, or set allow_insecure_auth";
    return NULL;
}

static int client_auth_start(smx_client *client, const char *mechanism)
{
    buffer initial = {0};
    client->mechanism = mechanism;
    bool has_initial = false;
    const smx_client_options *o = &client->options;
    int error = sasl_client_new(mechanism, o->user, o->token != NULL ? o->token : o->password,
                                &client->sasl);
    if (error == 0)
        error = sasl_client_initial(client->sasl, &has_initial, &initial);
    if (error == 0)
        error =
            smx_client_session_auth(client->session, client_now(client), slice_of_text(mechanism),
                                    has_initial, buffer_slice(&initial));
    if (initial.data != NULL)
        explicit_bzero(initial.data, initial.capacity);
    buffer_free(&initial);
    return error;
}

void client_auth_begin(smx_client *client)
{
    const char *objection = client_auth_objection(client);
    if (objection != NULL) {
        client_end(client, SMX_E_AUTH, objection);
        return;
    }
    const char *mechanism;
    smx_slice offered = smx_client_session_capabilities(client->session)->auth_mechanisms;
    if (sasl_client_choose(offered, client->options.mechanism, client->options.token != NULL,
                           !connection_is_tls(client->connection), &mechanism) != 0) {
        client_end(client, SMX_E_AUTH, "the server offers no AUTH mechanism that can be used");
        return;
    }
    int error = client_auth_start(client, mechanism);
    if (error != 0)
        client_end(client, error, NULL);
}

void client_auth_challenge(smx_client *client, smx_slice challenge)
{
    buffer response = {0};
    int error = client->sasl == NULL ? SMX_E_PROTOCOL
                                     : sasl_client_step(client->sasl, challenge, &response);
    if (error == 0)
        error = smx_client_session_auth_response(client->session, client_now(client),
                                                 buffer_slice(&response));
    if (response.data != NULL)
        explicit_bzero(response.data, response.capacity);
    buffer_free(&response);
    if (error != 0)
        client_end(client, error, "the server's side of AUTH made no sense");
    else if (sasl_client_refusal(client->sasl)[0] != '\0')
        client_result_detail(client, sasl_client_refusal(client->sasl));
}

int client_auth_finish(smx_client *client)
{
    bool complete = client->sasl == NULL || sasl_client_is_complete(client->sasl);
    sasl_client_free(client->sasl);
    client->sasl = NULL;
    return complete ? 0 : SMX_E_AUTH;
}
