/* The PROXY header of peers that must send one (CHECKLIST 68): before TLS, before the banner. What
 * they send otherwise ends the connection: it is never guessed whether one comes. */
#include "server/internal.h"

static void proxy_header_refused(peer *p)
{
    const smx_log_field reason = {"reason", SMX_SLICE("no PROXY header")};
    server_count(p->listener, refused_connections);
    server_log(p->server, SMX_LOG_WARN, "connection_refused", p, &reason, 1);
    peer_end(p);
}

size_t peer_proxy_header(peer *p, smx_slice in)
{
    smx_proxy_header header;
    size_t used = 0;
    int error = smx_proxy_header_parse(in, &header, &used);
    if (error == SMX_E_AGAIN)
        return 0;
    p->header_wanted = false;
    p->setup_due = UINT64_MAX;
    if (error != 0) {
        proxy_header_refused(p);
        return in.len;
    }
    if (!header.local) { /* LOCAL keeps the address of the connection (ATTACKS 29) */
        p->view.client = header.source;
        p->view.server = header.destination;
        p->view.tls = header.tls;
    }
    p->header_taken = true;
    peer_begin(p);
    return used;
}
