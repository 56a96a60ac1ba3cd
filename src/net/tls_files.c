/* Certificates and keys out of PEM files, with problems in plain English. Owns what it returns
 * until that is handed to the caller. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "net/tls_internal.h"

const char *tls_openssl_words(void)
{
    const char *words = ERR_reason_error_string(ERR_get_error());
    ERR_clear_error();
    return words == NULL ? "no reason given" : words;
}

tls_file_state tls_file_look(const char *file)
{
    struct stat status;
    if (file == NULL || stat(file, &status) != 0)
        return (tls_file_state){0};
    return (tls_file_state){status.st_dev, status.st_ino, status.st_size, status.st_mtim};
}

bool tls_file_same(const tls_file_state *a, const tls_file_state *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

/* NULL and the problem, and *error, if it cannot be what is expected. */
static FILE *tls_file_open(const char *name, const char *what, int *error, problem *p)
{
    struct stat status;
    FILE *opened = fopen(name, "re");
    if (opened == NULL) {
        *error = problem_set(p, errno == EACCES ? SMX_E_PERMISSION : SMX_E_NOTFOUND,
                             "cannot read the %s %s: %s", what, name, strerror(errno));
        return NULL;
    }
    bool regular = fstat(fileno(opened), &status) == 0 && S_ISREG(status.st_mode);
    if (regular && status.st_size > 0)
        return opened;
    (void)fclose(opened);
    *error = problem_set(p, SMX_E_INVALID, "the %s %s is %s", what, name,
                         regular ? "empty" : "not a regular file");
    return NULL;
}

/* Nobody can be asked for a password. */
static int tls_no_password(char *text, int size, int writing, void *arg)
{
    if (size > 0)
        text[0] = '\0';
    (void)writing;
    (void)arg;
    return -1;
}

/* The certificates behind the first one, up to the end of the file. */
static int tls_read_chain(FILE *file, STACK_OF(X509) * chain)
{
    X509 *next;
    while ((next = PEM_read_X509(file, NULL, tls_no_password, NULL)) != NULL) {
        if (sk_X509_push(chain, next) == 0) {
            X509_free(next);
            return SMX_E_NOMEM;
        }
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return at_end ? 0 : SMX_E_INVALID;
}

static int tls_load_certificates(const char *name, tls_pair *pair, problem *p)
{
    int error = 0;
    FILE *file = tls_file_open(name, "certificate", &error, p);
    if (file == NULL)
        return error;
    ERR_clear_error();
    pair->chain = sk_X509_new_null();
    pair->cert = PEM_read_X509(file, NULL, tls_no_password, NULL);
    if (pair->chain == NULL)
        error = problem_set(p, SMX_E_NOMEM, "out of memory");
    else if (pair->cert == NULL)
        error = problem_set(p, SMX_E_INVALID,
                            "the certificate %s is not PEM: a block that begins with "
                            "-----BEGIN CERTIFICATE----- is expected (%s)",
                            name, tls_openssl_words());
    else if (tls_read_chain(file, pair->chain) != 0)
        error = problem_set(p, SMX_E_INVALID,
                            "the certificate %s is followed by something that is not a PEM "
                            "certificate",
                            name);
    (void)fclose(file);
    return error;
}

static int tls_load_key(const char *name, tls_pair *pair, problem *p)
{
    int error = 0;
    FILE *file = tls_file_open(name, "key", &error, p);
    if (file == NULL)
        return error;
    ERR_clear_error();
    pair->key = PEM_read_PrivateKey(file, NULL, tls_no_password, NULL);
    (void)fclose(file);
    if (pair->key != NULL)
        return 0;
    return problem_set(p, SMX_E_INVALID, "the key %s is not an unencrypted PEM private key (%s)",
                       name, tls_openssl_words());
}

/* A warning: peers will refuse it, but that is no reason not to start. */
static void tls_warn_of_time(const tls_pair *pair, const char *name, problem *p)
{
    if (X509_cmp_current_time(X509_get0_notAfter(pair->cert)) < 0)
        (void)problem_set(p, 0, "the certificate %s has expired", name);
    else if (X509_cmp_current_time(X509_get0_notBefore(pair->cert)) > 0)
        (void)problem_set(p, 0, "the certificate %s is not valid yet", name);
}

int tls_pair_load(const tls_certificate *files, tls_pair *pair, problem *p)
{
    tls_pair loaded = {0};
    int error = tls_load_certificates(files->cert_file, &loaded, p);
    if (error == 0)
        error = tls_load_key(files->key_file, &loaded, p);
    if (error == 0 && X509_check_private_key(loaded.cert, loaded.key) != 1)
        error = problem_set(p, SMX_E_INVALID, "the key %s does not belong to the certificate %s",
                            files->key_file, files->cert_file);
    ERR_clear_error();
    if (error != 0) {
        tls_pair_free(&loaded);
        return error;
    }
    tls_warn_of_time(&loaded, files->cert_file, p);
    *pair = loaded;
    return 0;
}

void tls_pair_free(tls_pair *pair)
{
    X509_free(pair->cert);
    EVP_PKEY_free(pair->key);
    sk_X509_pop_free(pair->chain, X509_free);
    *pair = (tls_pair){0};
}

int tls_store_load(const char *name, X509_STORE **store, problem *p)
{
    int error = 0;
    FILE *file = tls_file_open(name, "file of CA certificates", &error, p);
    if (file == NULL)
        return error;
    (void)fclose(file);
    ERR_clear_error();
    X509_STORE *loaded = X509_STORE_new();
    if (loaded == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    if (X509_STORE_load_file(loaded, name) != 1) {
        X509_STORE_free(loaded);
        return problem_set(p, SMX_E_INVALID,
                           "the file of CA certificates %s holds no PEM certificate (%s)", name,
                           tls_openssl_words());
    }
    ERR_clear_error();
    *store = loaded;
    return 0;
}

SSL_CTX *tls_context_new(const SSL_METHOD *method)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(method);
    if (context == NULL)
        return NULL;
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION); /* RFC 8996 */
    (void)SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                           SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}
