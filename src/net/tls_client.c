/* The client's side of TLS: whom it believes, what it shows, and the sessions that it may resume.
 * Holders share it by reference; it owns the remembered sessions.
 */
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "net/tls_internal.h"

enum {
    TLS_SESSIONS = 256, /* remembered in all */
    TLS_SESSIONS_OF_KEY =
        16, /* tickets of TLS 1.3 are good once: enough for a burst of connections */
};

typedef struct tls_session {
    list_node node;
    char *key;
    SSL_SESSION *session;
} tls_session;

struct tls_client {
    atomic_uint holders;
    SSL_CTX *context;
    list sessions; /* the newest first */
};

/* ---- sessions ---- */

/* Of a session that is on no list any more. */
static void tls_session_free(tls_session *s)
{
    SSL_SESSION_free(s->session);
    free(s->key);
    free(s);
}

static void tls_client_forget(tls_session *s)
{
    list_remove(&s->node);
    tls_session_free(s);
}

/* Drops what is too old of this key and of all. */
static void tls_client_make_room(tls_client *client, const char *key)
{
    size_t of_key = 0;
    list_node *next;
    for (list_node *node = client->sessions.first; node != NULL; node = next) {
        next = node->next;
        tls_session *s = list_member(node, tls_session, node);
        if (strcmp(s->key, key) == 0 && ++of_key >= TLS_SESSIONS_OF_KEY)
            tls_client_forget(s);
    }
    if (client->sessions.count >= TLS_SESSIONS)
        tls_client_forget(list_member(client->sessions.last, tls_session, node));
}

/* OpenSSL made a session: 1 if we keep it, which is its reference. */
static int tls_client_on_session(SSL *ssl, SSL_SESSION *session)
{
    tls_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const char *key = SSL_get_app_data(ssl);
    if (key == NULL || !SSL_SESSION_is_resumable(session))
        return 0;
    tls_session *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return 0;
    new->key = strdup(key);
    if (new->key == NULL) {
        free(new);
        return 0;
    }
    tls_client_make_room(client, key);
    new->session = session;
    list_prepend(&client->sessions, &new->node);
    return 1;
}

SSL_SESSION *tls_client_take_session(tls_client *client, const char *key)
{
    for (list_node *node = client->sessions.first; node != NULL; node = node->next) {
        tls_session *s = list_member(node, tls_session, node);
        if (strcmp(s->key, key) != 0)
            continue;
        SSL_SESSION *session = s->session;
        (void)SSL_SESSION_up_ref(session);
        if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION)
            tls_client_forget(s); /* RFC 8446 appendix C.4: a ticket is used once */
        return session;
    }
    return NULL;
}

/* ---- beginning and end ---- */

static int tls_client_load_own(tls_client *client, const tls_client_options *options, problem *p)
{
    const tls_certificate files = {options->cert_file, options->key_file};
    tls_pair pair;
    if (options->cert_file == NULL)
        return 0;
    if (options->key_file == NULL)
        return problem_set(p, SMX_E_INVALID, "the certificate %s has no key file",
                           options->cert_file);
    int error = tls_pair_load(&files, &pair, p);
    if (error != 0)
        return error;
    if (SSL_CTX_use_cert_and_key(client->context, pair.cert, pair.key, pair.chain, 1) != 1)
        error = problem_set(p, SMX_E_INVALID, "cannot use the certificate %s: %s",
                            options->cert_file, tls_openssl_words());
    tls_pair_free(&pair);
    return error;
}

static int tls_client_believe_system(tls_client *client, tls_authorities *shared, problem *p)
{
    tls_authorities *authorities = tls_authorities_share(shared);
    if (authorities == NULL && tls_authorities_new(&authorities) != 0)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    SSL_CTX_set1_cert_store(client->context, tls_authorities_store(authorities));
    tls_authorities_free(authorities);
    return 0;
}

static int tls_client_load_believed(tls_client *client, const tls_client_options *options,
                                    problem *p)
{
    X509_STORE *store;
    if (options->ca_file == NULL)
        return tls_client_believe_system(client, options->authorities, p);
    int error = tls_store_load(options->ca_file, &store, p);
    if (error == 0)
        SSL_CTX_set_cert_store(client->context, store);
    return error;
}

static int tls_client_make_context(tls_client *client, problem *p)
{
    client->context = tls_context_new(TLS_client_method());
    if (client->context == NULL || SSL_CTX_set_app_data(client->context, client) != 1)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    (void)SSL_CTX_set_session_cache_mode(client->context,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client->context, tls_client_on_session);
    return 0;
}

int tls_client_new(const tls_client_options *options, tls_client **client, problem *p)
{
    tls_client *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    atomic_init(&new->holders, 1);
    if (p != NULL)
        p->text[0] = '\0';
    int error = tls_client_make_context(new, p);
    if (error == 0)
        error = tls_client_load_believed(new, options, p);
    if (error == 0)
        error = tls_client_load_own(new, options, p);
    ERR_clear_error();
    if (error != 0) {
        tls_client_free(new);
        return error;
    }
    *client = new;
    return 0;
}

void tls_client_hold(tls_client *client)
{
    (void)atomic_fetch_add(&client->holders, 1);
}

void tls_client_free(tls_client *client)
{
    if (client == NULL || atomic_fetch_sub(&client->holders, 1) > 1)
        return;
    list_node *next;
    for (list_node *node = client->sessions.first; node != NULL; node = next) {
        next = node->next;
        tls_session_free(list_member(node, tls_session, node));
    }
    SSL_CTX_free(client->context);
    free(client);
}

struct ssl_ctx_st *tls_client_context(tls_client *client)
{
    return client->context;
}
