/* The server's side of TLS: one OpenSSL context, whose certificates are chosen by SNI for each
 * handshake. A refresh swaps the certificates and leaves the context, so that session tickets stay
 * good. Holders share it by reference.
 */
#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "net/tls_internal.h"

/* A certificate as configured, as loaded, and how its files looked then. */
typedef struct tls_entry {
    char *cert_file;
    char *key_file;
    tls_pair pair;
    tls_file_state cert_state;
    tls_file_state key_state;
} tls_entry;

struct tls_server {
    atomic_uint holders;
    SSL_CTX *context;
    tls_entry *entries;
    size_t count;
    tls_tickets *tickets; /* NULL: the context has keys of its own */
    char *client_ca_file; /* NULL: clients are not asked */
    tls_file_state client_ca_state;
};

/* ---- what the handshake asks ---- */

static bool tls_entry_has_name(const tls_entry *entry, const char *name)
{
    return X509_check_host(entry->pair.cert, name, strlen(name),
                           X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                           NULL) == 1;
}

static int tls_entry_use(SSL *ssl, const tls_entry *entry)
{
    return SSL_use_cert_and_key(ssl, entry->pair.cert, entry->pair.key, entry->pair.chain, 1);
}

/* All certificates of the name, so that a peer can have RSA or ECDSA; of two of one kind the first
 * in the file is the last put in, and counts. RFC 6066 section 3. */
static int tls_server_on_certificate(SSL *ssl, void *arg)
{
    const tls_server *server = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    bool found = false;
    SSL_certs_clear(ssl);
    for (size_t i = server->count; name != NULL && i-- > 0;) {
        if (!tls_entry_has_name(&server->entries[i], name))
            continue;
        if (tls_entry_use(ssl, &server->entries[i]) != 1)
            return 0;
        found = true;
    }
    return found ? 1 : tls_entry_use(ssl, &server->entries[0]);
}

/* A client that speaks another protocol was led here by someone else (ATTACKS 19). */
static int tls_server_on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_size,
                              const unsigned char *offered, unsigned size, void *arg)
{
    static const unsigned char smtp[] = {4, 's', 'm', 't', 'p'};
    unsigned char *out;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&out, chosen_size, smtp, sizeof(smtp), offered, size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = out;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- loading ---- */

static int tls_entry_load(const tls_entry *from, tls_entry *to, problem *p)
{
    const tls_certificate files = {from->cert_file, from->key_file};
    to->cert_state = tls_file_look(files.cert_file);
    to->key_state = tls_file_look(files.key_file);
    return tls_pair_load(&files, &to->pair, p);
}

static int tls_server_load_clients(tls_server *server, problem *p)
{
    X509_STORE *store;
    if (server->client_ca_file == NULL)
        return 0;
    tls_file_state state = tls_file_look(server->client_ca_file);
    int error = tls_store_load(server->client_ca_file, &store, p);
    if (error != 0)
        return error;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(server->client_ca_file);
    if (names == NULL) {
        X509_STORE_free(store);
        return problem_set(p, SMX_E_INVALID, "the file of CA certificates %s: %s",
                           server->client_ca_file, tls_openssl_words());
    }
    SSL_CTX_set_cert_store(server->context, store);
    SSL_CTX_set_client_CA_list(server->context, names);
    SSL_CTX_set_verify(server->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    server->client_ca_state = state;
    return 0;
}

/* All files or none. */
static int tls_server_load(tls_server *server, problem *p)
{
    int error = 0;
    tls_entry *loaded = calloc(server->count, sizeof(*loaded));
    if (loaded == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    for (size_t i = 0; i < server->count && error == 0; i++)
        error = tls_entry_load(&server->entries[i], &loaded[i], p);
    if (error == 0)
        error = tls_server_load_clients(server, p);
    for (size_t i = 0; i < server->count; i++) {
        if (error == 0) {
            tls_entry old = server->entries[i];
            server->entries[i].pair = loaded[i].pair;
            server->entries[i].cert_state = loaded[i].cert_state;
            server->entries[i].key_state = loaded[i].key_state;
            loaded[i].pair = old.pair;
        }
        tls_pair_free(&loaded[i].pair);
    }
    free(loaded);
    return error;
}

static bool tls_server_files_changed(const tls_server *server)
{
    for (size_t i = 0; i < server->count; i++) {
        tls_file_state cert = tls_file_look(server->entries[i].cert_file);
        tls_file_state key = tls_file_look(server->entries[i].key_file);
        if (!tls_file_same(&cert, &server->entries[i].cert_state) ||
            !tls_file_same(&key, &server->entries[i].key_state))
            return true;
    }
    tls_file_state client_ca = tls_file_look(server->client_ca_file);
    return !tls_file_same(&client_ca, &server->client_ca_state);
}

int tls_server_refresh(tls_server *server, problem *p)
{
    if (!tls_server_files_changed(server))
        return 0;
    int error = tls_server_load(server, p);
    return error == 0 ? 1 : error;
}

/* ---- beginning and end ---- */

static int tls_server_copy(tls_server *server, const tls_server_options *options)
{
    server->entries = calloc(options->certificate_count, sizeof(*server->entries));
    if (server->entries == NULL)
        return SMX_E_NOMEM;
    server->count = options->certificate_count;
    for (size_t i = 0; i < server->count; i++) {
        server->entries[i].cert_file = strdup(options->certificates[i].cert_file);
        server->entries[i].key_file = strdup(options->certificates[i].key_file);
        if (server->entries[i].cert_file == NULL || server->entries[i].key_file == NULL)
            return SMX_E_NOMEM;
    }
    if (options->client_ca_file != NULL) {
        server->client_ca_file = strdup(options->client_ca_file);
        if (server->client_ca_file == NULL)
            return SMX_E_NOMEM;
    }
    return 0;
}

/* Sessions are resumed where the same certificates are shown, and so on the next configuration's
 * listener too: the files, by their names, are the context's identity. */
static int tls_server_name_sessions(const tls_server *server)
{
    unsigned char name[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool ok = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; i < server->count && ok; i++) {
        const tls_entry *e = &server->entries[i];
        ok = EVP_DigestUpdate(digest, e->cert_file, strlen(e->cert_file) + 1) == 1 &&
             EVP_DigestUpdate(digest, e->key_file, strlen(e->key_file) + 1) == 1;
    }
    ok = ok && EVP_DigestFinal_ex(digest, name, &size) == 1 &&
         SSL_CTX_set_session_id_context(server->context, name, size) == 1;
    EVP_MD_CTX_free(digest);
    return ok ? 0 : SMX_E_NOMEM;
}

/* Tickets only: sessions are the client's to keep. A client that must show a certificate shows it each
 * time, so that one that has ended since, or another listener's ticket, is no way in. */
static int tls_server_make_tickets(tls_server *server)
{
    (void)SSL_CTX_set_session_cache_mode(server->context, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_timeout(server->context, TLS_TICKETS_TURN_MS / 1000);
    (void)SSL_CTX_set_max_early_data(server->context, 0); /* it can be replayed */
    bool has_tickets = server->client_ca_file == NULL;
    (void)SSL_CTX_set_num_tickets(server->context, has_tickets ? 1 : 0);
    if (!has_tickets)
        (void)SSL_CTX_set_options(server->context, SSL_OP_NO_TICKET);
    int error = tls_server_name_sessions(server);
    if (error == 0 && has_tickets && server->tickets != NULL)
        error = tls_tickets_serve(server->tickets, server->context);
    return error;
}

static int tls_server_make_context(tls_server *server)
{
    server->context = tls_context_new(TLS_server_method());
    if (server->context == NULL)
        return SMX_E_NOMEM;
    SSL_CTX_set_cert_cb(server->context, tls_server_on_certificate, server);
    SSL_CTX_set_alpn_select_cb(server->context, tls_server_on_alpn, NULL);
    (void)SSL_CTX_set_dh_auto(server->context, 1);
    return tls_server_make_tickets(server);
}

int tls_server_new(const tls_server_options *options, tls_server **server, problem *p)
{
    assert(options->certificate_count > 0);
    tls_server *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    atomic_init(&new->holders, 1);
    new->tickets = tls_tickets_share(options->tickets);
    if (p != NULL)
        p->text[0] = '\0';
    int error = tls_server_copy(new, options);
    if (error == 0)
        error = tls_server_make_context(new);
    if (error != 0)
        (void)problem_set(p, error, "out of memory");
    else
        error = tls_server_load(new, p);
    if (error != 0) {
        tls_server_free(new);
        return error;
    }
    *server = new;
    return 0;
}

void tls_server_hold(tls_server *server)
{
    (void)atomic_fetch_add(&server->holders, 1);
}

void tls_server_free(tls_server *server)
{
    if (server == NULL || atomic_fetch_sub(&server->holders, 1) > 1)
        return;
    SSL_CTX_free(server->context);
    tls_tickets_free(server->tickets);
    for (size_t i = 0; i < server->count; i++) {
        tls_pair_free(&server->entries[i].pair);
        free(server->entries[i].cert_file);
        free(server->entries[i].key_file);
    }
    free(server->entries);
    free(server->client_ca_file);
    free(server);
}

struct ssl_ctx_st *tls_server_context(tls_server *server)
{
    return server->context;
}
