/* The client's side of TLS towards a server, for all who connect to one. */
#ifndef CLIENT_CLIENT_TLS_H
#define CLIENT_CLIENT_TLS_H

#include "net/connection.h"
#include "smx/client.h"

struct smx_client_tls {
    tls_client *context;
};

/* A context as the daemon makes it, whose contexts share what smx_client_tls_new reads for each one
 * anew. The problem says what is wrong, and with which file. */
SMX_MUST_USE int client_tls_new(const tls_client_options *options, smx_client_tls **tls,
                                problem *p);

/* Begins the handshake with the server of this name; `required`: its certificate must be right.
 * SMX_E_TLS: there is no context. */
SMX_MUST_USE int client_tls_begin(connection *c, smx_client_tls *tls, const char *name,
                                  bool required);
/* Says in the log what an operator should know of a certificate that was taken all the same. */
void client_tls_log(const connection *c, const char *host, uint64_t session, smx_log_fn *log,
                    void *log_arg);

#endif
