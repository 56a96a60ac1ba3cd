/* A client's TLS context: the public face, the daemon's, and its use. */
#include "client/client_tls.h"

#include <stdlib.h>

int client_tls_new(const tls_client_options *options, smx_client_tls **out, problem *p)
{
    smx_client_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return problem_set(p, SMX_E_NOMEM, "out of memory");
    int error = tls_client_new(options, &tls->context, p);
    if (error != 0) {
        free(tls);
        return error;
    }
    *out = tls;
    return 0;
}

int smx_client_tls_new(const char *ca_file, const char *cert_file, const char *key_file,
                       smx_client_tls **tls, char *problem_text)
{
    const tls_client_options options = {
        .ca_file = ca_file, .cert_file = cert_file, .key_file = key_file};
    problem p = {0};
    int error = client_tls_new(&options, tls, &p);
    if (error != 0 && problem_text != NULL)
        memcpy(problem_text, p.text, sizeof(p.text));
    return error;
}

void smx_client_tls_free(smx_client_tls *tls)
{
    if (tls == NULL)
        return;
    tls_client_free(tls->context);
    free(tls);
}

int client_tls_begin(connection *c, smx_client_tls *tls, const char *name, bool required)
{
    if (tls == NULL)
        return SMX_E_TLS;
    return connection_secure_client(c, tls->context, slice_of_text(name),
                                    required ? TLS_VERIFY_REQUIRED : TLS_VERIFY_LOGGED);
}

void client_tls_log(const connection *c, const char *host, uint64_t session, smx_log_fn *log,
                    void *log_arg)
{
    connection_tls_info info;
    if (log == NULL || !connection_get_tls_info(c, &info) || info.verified)
        return;
    smx_log_field fields[] = {
        {"host", slice_of_text(host)},
        {"reason", slice_of_text(info.error)},
    };
    log(log_arg, SMX_LOG_WARN, "tls_unverified", session, fields, 2);
}
