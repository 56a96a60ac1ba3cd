/* What hooks, middleware and handlers are shown of a session. */
#include "server/internal.h"

void peer_view_refresh(peer *p)
{
    smx_session_view *view = &p->guest.view;
    smx_server_session_info info;
    smx_server_session_get_info(p->machine, &info);
    if (info.helo.len > 0)
        view->helo = info.helo;
    view->esmtp = info.esmtp;
    view->tls = info.tls;
    guest_view_tls(&p->guest);
}
