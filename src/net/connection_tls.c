/* TLS on top of the socket. */
#include "net/connection_internal.h"

void connection_tls_free(connection *c)
{
    (void)c;
}

size_t connection_tls_queued(const connection *c)
{
    (void)c;
    return 0;
}

bool connection_tls_ended(connection *c, int error)
{
    (void)c;
    (void)error;
    return false;
}

bool connection_tls_holds_input(const connection *c)
{
    (void)c;
    return false;
}

int connection_secure_server(connection *c, tls_server *server)
{
    (void)c;
    (void)server;
    return SMX_E_UNSUPPORTED;
}
