/* A connection's TLS: its state, shared by connection_tls.c (octets) and connection_handshake.c. */
#ifndef NET_CONNECTION_TLS_H
#define NET_CONNECTION_TLS_H

#include "net/connection_internal.h"
#include "net/tls_internal.h"

enum { TLS_PROBLEM = 160 };

struct connection_tls {
    connection *c;
    SSL *ssl;
    tls_server *server; /* held; one of the two is NULL */
    tls_client *client; /* held */
    char *session_key;  /* the client's, for sessions that it may resume */
    smx_slice cipher;   /* what OpenSSL may read now */
    char *held;         /* a block of octets that OpenSSL did not read yet, or NULL */
    uint32_t held_start;
    uint32_t held_length;
    octet_queue plain; /* waits to be encrypted */
    bool handshaking;
    bool failed;
    tls_verify verify;
    char *problem; /* OpenSSL's words for the last failure; NULL: none, or no memory for them */
};

/* OpenSSL's way to the octets: reads `cipher`, writes to the socket's queue. NULL: no memory. */
SMX_MUST_USE BIO *connection_tls_bio(connection_tls *tls);
/* What an error of OpenSSL means, noted in `problem`: SMX_E_CERTIFICATE, SMX_E_TLS, SMX_E_NOMEM. */
int connection_tls_failure(connection_tls *tls);
/* Goes on with the handshake: true once it is done and the owner, who was told, lets it go on. */
bool connection_tls_handshake(connection *c);

#endif
