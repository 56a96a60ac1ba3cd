/* How a session begins: behind what comes before it (guest.c) its machine is made. And STARTTLS. */
#include <stdlib.h>

#include "server/internal.h"
#include "server/replies.h"

void peer_secure(peer *p)
{
    peer_send_output(p);
    if (guest_secure(&p->guest) != 0)
        peer_cut(p);
}

static int peer_make_machine(peer *p)
{
    smx_server_session_options options = p->listener->session;
    const smx_server_options *program = &p->server->options;
    front *f = &p->server->front;
    if (program->offer != NULL)
        options.offered |= program->offer(program->offer_arg, &p->listener->entrance.options);
    options.tls = p->guest.view.tls || connection_is_tls(p->guest.connection);
    options.xclient = p->may_xclient;
    return smx_server_session_new(&options, loop_now(f->loop), &p->machine);
}

static void peer_begin(peer *p)
{
    const smx_listener_options *options = &p->listener->entrance.options;
    p->may_xclient = trust_lists(options->xclient, options->xclient_count, &p->guest.view.client);
    if (peer_make_machine(p) != 0) {
        peer_refuse(p, PEER_REPLY(SETUP));
        return;
    }
    peer_view_refresh(p);
    front_log(&p->server->front, SMX_LOG_DEBUG, "connect", &p->guest, NULL, 0);
    peer_advance(p);
}

static void peer_goes_on(peer *p, guest_step step, const smx_reply *refusal)
{
    if (step == GUEST_READY)
        peer_begin(p);
    else if (step == GUEST_WAITS)
        peer_set_deadline(p);
    else if (refusal != NULL)
        peer_refuse(p, refusal);
    else
        peer_end(p);
}

size_t peer_header(peer *p, smx_slice in)
{
    const smx_reply *refusal;
    size_t used;
    guest_step step = guest_header(&p->guest, in, &used, &refusal);
    peer_goes_on(p, step, refusal);
    return used;
}

void peer_secured_first(peer *p, int error)
{
    const smx_reply *refusal;
    guest_step step = guest_secured(&p->guest, error, &refusal);
    peer_goes_on(p, step, refusal);
}

static peer *peer_make(server_listener *l, connection *c)
{
    peer *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    p->server = l->server;
    p->listener = l;
    p->auth_due = p->trim_due = UINT64_MAX;
    guest_init(&p->guest, &l->entrance, c);
    return p;
}

void peer_new(entrance *e, connection *c)
{
    const smx_reply *refusal;
    peer *p = peer_make(list_member(e, server_listener, entrance), c);
    if (p == NULL || connection_start(c, &peer_handler, p) != 0) {
        free(p);
        connection_close(c);
        return;
    }
    guest_step step = guest_arrive(&p->guest, &refusal);
    peer_goes_on(p, step, refusal);
}
