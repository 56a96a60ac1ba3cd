/* What the mechanisms of the server's side share. */
#ifndef SASL_SERVER_H
#define SASL_SERVER_H

#include <gsasl.h>

#include "sasl/sasl.h"

typedef struct sasl_mechanism sasl_mechanism;

struct sasl_server {
    const sasl_mechanism *mechanism;
    sasl_secret_fn *secret;
    void *secret_arg;
    unsigned stage; /* messages of the client so far; the mechanism's to count */
    bool is_over;
    buffer user;
    buffer password;
    Gsasl *gsasl; /* SCRAM */
    Gsasl_session *session;
    int load_result; /* SCRAM: whether libgsasl got what it asked for */
    bool is_known;   /* SCRAM: the user exists */
};

struct sasl_mechanism {
    const char *name;
    bool client_first; /* without an initial response, an empty challenge asks for one */
    int (*start)(sasl_server *server); /* NULL: nothing to do */
    sasl_step (*step)(sasl_server *server, bool has_input, smx_slice input, buffer *output);
};

extern const sasl_mechanism sasl_server_plain;
extern const sasl_mechanism sasl_server_login;
extern const sasl_mechanism sasl_server_scram;

/* A user name that may go on into logs and upstreams (ATTACKS 22). */
bool sasl_user_is_valid(smx_slice user);

#endif
