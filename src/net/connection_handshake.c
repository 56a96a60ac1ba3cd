/* How TLS begins on a connection, how it fails, and what it says of itself. Whom to believe is the
 * context's (net/tls.h); which name is to stand in the certificate is decided here.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/connection_tls.h"

/* ---- failures ---- */

/* Alerts by which a peer says that it does not take our certificate (RFC 8446 section 6.2). */
static bool handshake_alert_is_of_certificate(int alert)
{
    static const int alerts[] = {
        SSL_AD_NO_CERTIFICATE,      SSL_AD_BAD_CERTIFICATE,      SSL_AD_UNSUPPORTED_CERTIFICATE,
        SSL_AD_CERTIFICATE_REVOKED, SSL_AD_CERTIFICATE_EXPIRED,  SSL_AD_CERTIFICATE_UNKNOWN,
        SSL_AD_UNKNOWN_CA,          SSL_AD_CERTIFICATE_REQUIRED,
    };
    for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
        if (alerts[i] == alert)
            return true;
    return false;
}

static int handshake_note(connection_tls *tls, int error, const char *before, const char *words)
{
    if (tls->problem == NULL)
        tls->problem = malloc(TLS_PROBLEM);
    if (tls->problem != NULL)
        (void)snprintf(tls->problem, TLS_PROBLEM, "%s%s", before, words);
    ERR_clear_error();
    return error;
}

int connection_tls_failure(connection_tls *tls)
{
    unsigned long first = ERR_peek_error();
    int reason = ERR_GET_REASON(first);
    long verified = SSL_get_verify_result(tls->ssl);
    if (reason == ERR_R_MALLOC_FAILURE)
        return handshake_note(tls, SMX_E_NOMEM, "", "out of memory");
    if (ERR_GET_LIB(first) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return handshake_note(tls, SMX_E_CERTIFICATE, "", X509_verify_cert_error_string(verified));
    if (ERR_GET_LIB(first) == ERR_LIB_SSL && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return handshake_note(tls, SMX_E_CERTIFICATE, "", "the peer showed no certificate");
    if (ERR_GET_LIB(first) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET) {
        int alert = reason - SSL_AD_REASON_OFFSET;
        return handshake_note(
            tls, handshake_alert_is_of_certificate(alert) ? SMX_E_CERTIFICATE : SMX_E_TLS,
            "the peer sent the alert: ", SSL_alert_desc_string_long(alert));
    }
    return handshake_note(tls, SMX_E_TLS, "", tls_openssl_words());
}

bool connection_tls_ended(connection *c, int error)
{
    connection_tls *tls = c->tls;
    if (!tls->handshaking || tls->failed)
        return false;
    tls->failed = true;
    error =
        handshake_note(tls, error == 0 ? SMX_E_CLOSED : error,
                       "within the handshake: ", smx_error_text(error == 0 ? SMX_E_CLOSED : error));
    c->end_seen = true;
    connection_secured(c, error);
    return true;
}

/* ---- going on ---- */

/* A resumed session was judged when it was made; OpenSSL does not look again. */
static bool handshake_is_believed(const connection_tls *tls)
{
    return tls->client == NULL || tls->verify != TLS_VERIFY_REQUIRED ||
           SSL_get_verify_result(tls->ssl) == X509_V_OK;
}

static bool handshake_failed(connection *c, int error)
{
    c->tls->failed = true;
    connection_tell_later(c, 0);
    connection_secured(c, error);
    return false;
}

bool connection_tls_handshake(connection *c)
{
    connection_tls *tls = c->tls;
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result != 1) {
        int reason = SSL_get_error(tls->ssl, result);
        connection_tell_later(c, 0);
        if (reason == SSL_ERROR_WANT_READ)
            return false;
        return handshake_failed(c, connection_tls_failure(tls));
    }
    if (!handshake_is_believed(tls)) {
        const char *words = X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl));
        return handshake_failed(c, handshake_note(tls, SMX_E_CERTIFICATE, "", words));
    }
    tls->handshaking = false;
    connection_tell_later(c, 0);
    connection_secured(c, 0);
    return c->state == CONNECTION_OPEN;
}

/* ---- beginning ---- */

/* Octets that came in clear text and were not used yet are not the peer's any more (ATTACKS 12,
 * 13). Within `data` the connection looks at what it leaves. */
static int handshake_is_allowed(const connection *c)
{
    if (c->state != CONNECTION_OPEN || c->tls != NULL || c->write_error != 0 || c->end_told)
        return SMX_E_STATE;
    return c->kept_length > 0 && !c->offering ? SMX_E_PROTOCOL : 0;
}

static int handshake_make(connection *c, SSL_CTX *context, connection_tls **made)
{
    connection_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return SMX_E_NOMEM;
    tls->c = c;
    tls->handshaking = true;
    ERR_clear_error();
    tls->ssl = SSL_new(context);
    BIO *bio = tls->ssl == NULL ? NULL : connection_tls_bio(tls);
    if (bio == NULL) {
        SSL_free(tls->ssl);
        free(tls);
        ERR_clear_error();
        return SMX_E_NOMEM;
    }
    SSL_set_bio(tls->ssl, bio, bio);
    *made = tls;
    return 0;
}

static void handshake_begin(connection *c, connection_tls *tls)
{
    c->tls = tls;
    c->transport = &connection_tls_transport;
    c->waiting = false;
}

int connection_secure_server(connection *c, tls_server *server)
{
    connection_tls *tls;
    int error = handshake_is_allowed(c);
    if (error == 0)
        error = handshake_make(c, tls_server_context(server), &tls);
    if (error != 0)
        return error;
    tls_server_hold(server);
    tls->server = server;
    SSL_set_accept_state(tls->ssl);
    handshake_begin(c, tls);
    connection_tell_later(c, 0);
    return 0;
}

int connection_secure_server_behind(connection *c, tls_server *server)
{
    if (!c->offering)
        return SMX_E_STATE;
    int error = connection_secure_server(c, server);
    c->rest_is_tls = error == 0;
    return error;
}

static bool handshake_is_address(const char *name)
{
    unsigned char octets[16];
    return inet_pton(AF_INET, name, octets) == 1 || inet_pton(AF_INET6, name, octets) == 1;
}

/* RFC 6125: the name is to stand in a subjectAltName; an address literal in an iPAddress, and then
 * SNI is not sent (RFC 6066 section 3). */
static int handshake_expect(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                               X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (handshake_is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 ? 0 : SMX_E_NOMEM;
    if (SSL_set1_host(ssl, name) != 1 || SSL_set_tlsext_host_name(ssl, name) != 1)
        return SMX_E_INVALID;
    return 0;
}

/* The name in small letters behind how it is verified, so that what was not verified is never
 * resumed where that is required; `name` is the part behind the mark. */
static char *handshake_session_key(smx_slice name, tls_verify verify)
{
    char *key = malloc(name.len + 2);
    if (key == NULL)
        return NULL;
    key[0] = verify == TLS_VERIFY_REQUIRED ? '!' : '?';
    for (size_t i = 0; i < name.len; i++)
        key[i + 1] = ascii_lower(name.data[i]);
    key[name.len + 1] = '\0';
    return key;
}

static int handshake_set_up_client(connection_tls *tls, smx_slice name, tls_verify verify)
{
    if (name.len > 1 && name.data[name.len - 1] == '.')
        name.len--; /* the root's dot is not in certificates */
    tls->verify = verify;
    tls->session_key = handshake_session_key(name, verify);
    if (tls->session_key == NULL || SSL_set_app_data(tls->ssl, tls->session_key) != 1)
        return SMX_E_NOMEM;
    SSL_set_verify(tls->ssl, verify == TLS_VERIFY_REQUIRED ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                   NULL);
    int error = handshake_expect(tls->ssl, tls->session_key + 1);
    if (error != 0)
        return error;
    SSL_SESSION *session = tls_client_take_session(tls->client, tls->session_key);
    if (session != NULL)
        (void)SSL_set_session(tls->ssl, session);
    SSL_SESSION_free(session);
    SSL_set_connect_state(tls->ssl);
    return 0;
}

int connection_secure_client(connection *c, tls_client *client, smx_slice name, tls_verify verify)
{
    connection_tls *tls;
    int error = handshake_is_allowed(c);
    if (error == 0 && (name.len == 0 || name.len > 255 || slice_find(name, '\0') < name.len))
        error = SMX_E_INVALID;
    if (error == 0)
        error = handshake_make(c, tls_client_context(client), &tls);
    if (error != 0)
        return error;
    tls_client_hold(client);
    tls->client = client;
    handshake_begin(c, tls);
    error = handshake_set_up_client(tls, name, verify);
    if (error == 0)
        connection_tell_later(c, CONNECTION_TELL_MORE); /* which says ClientHello */
    else
        tls->failed = true;
    if (error != 0)
        c->secure_error = (int16_t)error;
    ERR_clear_error();
    return error;
}

/* ---- what it says of itself ---- */

bool connection_get_tls_info(const connection *c, connection_tls_info *info)
{
    if (c->tls == NULL || c->tls->handshaking)
        return false;
    SSL *ssl = c->tls->ssl;
    X509 *peer = SSL_get0_peer_certificate(ssl);
    long verified = SSL_get_verify_result(ssl);
    *info = (connection_tls_info){
        .protocol = SSL_get_version(ssl),
        .cipher = SSL_get_cipher_name(ssl),
        .verified = peer != NULL && verified == X509_V_OK,
        .resumed = SSL_session_reused(ssl) == 1,
        .error = verified == X509_V_OK ? NULL : X509_verify_cert_error_string(verified),
    };
    if (peer != NULL && X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName,
                                                  info->peer_name, sizeof(info->peer_name)) < 0)
        info->peer_name[0] = '\0';
    return true;
}

int connection_get_key_digest(const connection *c, uint8_t digest[static CONNECTION_KEY_DIGEST])
{
    unsigned char *der = NULL;
    X509 *peer = c->tls == NULL ? NULL : SSL_get0_peer_certificate(c->tls->ssl);
    if (peer == NULL)
        return SMX_E_STATE;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(peer), &der);
    int error = len <= 0 ? SMX_E_NOMEM : 0;
    if (error == 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) != 1)
        error = SMX_E_NOMEM;
    OPENSSL_free(der);
    ERR_clear_error();
    return error;
}

const char *connection_tls_problem(const connection *c)
{
    return c->tls == NULL || c->tls->problem == NULL ? "" : c->tls->problem;
}

const char *connection_tls_server_name(const connection *c)
{
    return c->tls == NULL ? NULL : SSL_get_servername(c->tls->ssl, TLSEXT_NAMETYPE_host_name);
}
