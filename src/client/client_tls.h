/* A client's TLS context as the daemon makes it, whose contexts share what smx_client_tls_new reads for
 * each one anew. */
#ifndef CLIENT_CLIENT_TLS_H
#define CLIENT_CLIENT_TLS_H

#include "net/tls.h"
#include "smx/client.h"

/* The problem says what is wrong, and with which file. */
SMX_MUST_USE int client_tls_new(const tls_client_options *options, smx_client_tls **tls,
                                problem *p);

#endif
