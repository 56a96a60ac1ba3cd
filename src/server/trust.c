/* Who may do what because of where it comes from. */
#include "server/internal.h"

bool trust_lists(const smx_network *networks, size_t count, const smx_address *client)
{
    for (size_t i = 0; i < count; i++)
        if (smx_network_contains(&networks[i], client))
            return true;
    return false;
}

void trust_apply(peer *p)
{
    const smx_listener_options *options = &p->listener->entrance.options;
    for (size_t i = 0; i < options->trust_count && p->guest.view.account == NULL; i++)
        if (smx_network_contains(&options->trust[i].network, &p->guest.view.client))
            peer_set_user(p, server_find_user(p->server, options->trust[i].user));
    p->guest.view.authenticated = false; /* not by AUTH: `with ESMTP`, not ESMTPA (RFC 3848) */
}
