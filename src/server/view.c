/* What hooks, middleware and handlers are shown of a session. */
#include "server/internal.h"

void peer_view_refresh(peer *p)
{
    smx_session_view *view = &p->view;
    smx_server_session_info info;
    smx_server_session_get_info(p->machine, &info);
    if (info.helo.len > 0)
        view->helo = info.helo;
    view->esmtp = info.esmtp;
    view->tls = info.tls;
    connection_tls_info tls;
    if (connection_get_tls_info(p->connection, &tls)) {
        view->tls_protocol = slice_of_text(tls.protocol);
        view->tls_cipher = slice_of_text(tls.cipher);
    }
}
