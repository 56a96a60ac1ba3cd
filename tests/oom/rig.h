/* A whole multiplexer in one process, on one loop: a client, the server with its mux, and a sink as
 * the provider, all of them over loopback and in TLS. */
#ifndef OOM_RIG_H
#define OOM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <uv.h>

#include "../unit/net/test_certificates.h"
#include "app/sink.h"
#include "mux/mux_internal.h"
#include "server/internal.h"

typedef struct rig {
    smx_loop *loop;
    uv_timer_t tick;
    test_certificates *certificates;
    smx_certificate server_files;
    const char *ca;

    sink *provider;
    uint32_t copies; /* messages that the provider took since the last session */

    upstream_options upstream;
    bool cuts_through;     /* set before rig_build */
    mux_choice choices[2]; /* the same one twice */
    mux_user_options user;
    mux_options mux_options;
    mux_state *state;
    mux *mux;
    mux_worker *worker;
    const smx_middleware *middleware[1];
    const smx_hook *hooks[1];
    smx_shared *shared;
    smx_server *server;
    smx_listener_options listener;
    bool is_drained;

    smx_client_tls *client_tls;
    smx_client_options client_options;
    smx_message *message;
    smx_envelope envelope;
    smx_rcpt recipients[2];

    smx_client *client; /* of the session under way, or NULL */
    bool has_result;
    smx_outcome outcome;
    smx_reply reply; /* its text is not kept */
} rig;

/* Everything but the session: 0, or why not. What was built stays for rig_free. */
SMX_MUST_USE int rig_build(rig *r);
/* Ends and frees what there is. */
void rig_free(rig *r);
/* The certificates and the loop, which never fail here. */
void rig_prepare(rig *r);
void rig_forget(rig *r);

/* A whole session: connects, STARTTLS, AUTH, a message, QUIT; returns when all that belongs to it is
 * gone at every station. Fails the test if that takes longer than ten seconds. */
void rig_session(rig *r);
bool rig_was_accepted(const rig *r);

#endif
