/* What connections know of TLS contexts beyond net/tls.h: references, sessions, words. */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <sys/stat.h>

#include "net/tls.h"

/* A certificate with its chain and key, as read from files. */
typedef struct tls_pair {
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
} tls_pair;

/* The context's tickets are made with these keys, which must outlive it. */
SMX_MUST_USE int tls_tickets_serve(tls_tickets *tickets, SSL_CTX *context);

/* The state of a file, to see that it changed. Zero for a file that is not there. */
typedef struct tls_file_state {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
} tls_file_state;

/* Reads both files; the problem names the one that is wrong. A certificate that is expired or not
 * valid yet is taken, and `p` warns of it. */
SMX_MUST_USE int tls_pair_load(const tls_certificate *files, tls_pair *pair, problem *p);
void tls_pair_free(tls_pair *pair);
/* The certificates of a PEM file, to judge peers by. */
SMX_MUST_USE int tls_store_load(const char *file, X509_STORE **store, problem *p);

/* To judge peers by; lives as the authorities, but for whoever has a reference of its own. */
X509_STORE *tls_authorities_store(tls_authorities *authorities);

tls_file_state tls_file_look(const char *file);
bool tls_file_same(const tls_file_state *a, const tls_file_state *b);

/* Both sides' common rules: TLS 1.2 and newer, no compression, no renegotiation. NULL: no memory. */
SMX_MUST_USE SSL_CTX *tls_context_new(const SSL_METHOD *method);

/* The first error that OpenSSL noted, in its words; forgets all. Lives until the next call. */
const char *tls_openssl_words(void);

/* One more holder, who calls tls_server_free or tls_client_free too. */
void tls_server_hold(tls_server *server);
void tls_client_hold(tls_client *client);

/* A session to resume, which the caller frees; NULL if there is none. New sessions are remembered
 * under the key that SSL_set_app_data gave to their SSL: a C string. */
SSL_SESSION *tls_client_take_session(tls_client *client, const char *key);

#endif
