/* TLS contexts: what a side of TLS shows and believes. The handshake and the octets are the
 * connection's (net/connection.h). TLS 1.2 and newer (RFC 8314, RFC 8996). */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/problem.h"

struct ssl_ctx_st;

/* A certificate chain and its key, PEM files. */
typedef struct tls_certificate {
    const char *cert_file;
    const char *key_file;
} tls_certificate;

/* Keys of the tickets by which clients resume their sessions: contexts that share them take each other's
 * tickets, if their certificates are those of the same files. Reference-counted; any thread. */
typedef struct tls_tickets tls_tickets;

/* How long a key makes tickets. A ticket lives as long, and its key is kept for that time after. */
enum { TLS_TICKETS_TURN_MS = 60 * 60 * 1000 };

/* `now` as of clock_monotonic_ms. SMX_E_NOMEM, SMX_E_IO: no random octets. */
SMX_MUST_USE int tls_tickets_new(uint64_t now, tls_tickets **tickets);
/* Makes the next key when it is time; to be called every now and then. Without random octets the keys
 * stay until the next call. */
void tls_tickets_turn(tls_tickets *tickets, uint64_t now);
/* One holder more, who calls tls_tickets_free too; NULL is nothing. */
tls_tickets *tls_tickets_share(tls_tickets *tickets);
/* The last holder wipes the keys. */
void tls_tickets_free(tls_tickets *tickets);

/* The server's side: certificates chosen by SNI (exact names and *.wildcards of their SANs; the
 * first one otherwise); an ALPN list without "smtp" is refused with no_application_protocol. Session
 * tickets, but for clients that must show a certificate; no early data. Reference-counted, so that a reload can swap it while connections
 * live. One thread may use and refresh it at a time: one for each loop. */
typedef struct tls_server tls_server;

typedef struct tls_server_options {
    const tls_certificate *certificates; /* copied */
    size_t certificate_count;            /* at least 1 */
    const char *client_ca_file;          /* NULL: client certificates are not asked for; else a
                                            client must show one of these CAs */
    tls_tickets *tickets;                /* NULL: keys of its own */
} tls_server_options;

/* The problem names the file and says what is wrong: unreadable, not PEM, the key does not match. On
 * success `p` is empty, or warns that a certificate has expired. */
SMX_MUST_USE int tls_server_new(const tls_server_options *options, tls_server **server, problem *p);
/* Loads the files again if one changed (time, size, inode); keeps the old ones when the new ones
 * are bad. 1: loaded, 0: nothing changed, negative: an error with its problem. */
SMX_MUST_USE int tls_server_refresh(tls_server *server, problem *p);
void tls_server_free(tls_server *server);
struct ssl_ctx_st *tls_server_context(tls_server *server);

/* The client's side. It remembers sessions, to resume them with the same name and the same way of
 * judging. Reference-counted; one thread may use it at a time: one for each loop. */
typedef struct tls_client tls_client;

/* The system's CA certificates, read once for all contexts that believe them, since that takes long.
 * Reference-counted; any thread. */
typedef struct tls_authorities tls_authorities;

/* SMX_E_NOMEM. Where the system has none, nobody is believed. */
SMX_MUST_USE int tls_authorities_new(tls_authorities **authorities);
/* False: they may have changed since they were read. */
bool tls_authorities_are_current(const tls_authorities *authorities);
/* One holder more, who calls tls_authorities_free too; NULL is nothing. */
tls_authorities *tls_authorities_share(tls_authorities *authorities);
void tls_authorities_free(tls_authorities *authorities);

typedef struct tls_client_options {
    const char *ca_file;   /* NULL: the system's CAs */
    const char *cert_file; /* our certificate, or NULL */
    const char *key_file;
    tls_authorities *authorities; /* the system's CAs; NULL: they are read for this context alone */
} tls_client_options;

SMX_MUST_USE int tls_client_new(const tls_client_options *options, tls_client **client, problem *p);
void tls_client_free(tls_client *client);
struct ssl_ctx_st *tls_client_context(tls_client *client);

/* How a peer's certificate is judged. */
typedef enum tls_verify {
    TLS_VERIFY_REQUIRED, /* chain and name, or the handshake fails */
    TLS_VERIFY_LOGGED,   /* taken anyway; connection_tls_info tells */
} tls_verify;

#endif
