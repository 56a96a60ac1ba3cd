/* The public face of a client's TLS context. */
#include <stdlib.h>

#include "client/client_internal.h"

int smx_client_tls_new(const char *ca_file, const char *cert_file, const char *key_file,
                       smx_client_tls **out, char *problem_text)
{
    tls_client_options options = {ca_file, cert_file, key_file};
    problem p = {0};
    smx_client_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return SMX_E_NOMEM;
    int error = tls_client_new(&options, &tls->context, &p);
    if (error != 0) {
        if (problem_text != NULL)
            memcpy(problem_text, p.text, sizeof(p.text));
        free(tls);
        return error;
    }
    *out = tls;
    return 0;
}

void smx_client_tls_free(smx_client_tls *tls)
{
    if (tls == NULL)
        return;
    tls_client_free(tls->context);
    free(tls);
}
