/* XCLIENT: a peer that may use it says who its client is (CHECKLIST 67). The machine has checked that
 * it may, and begins the session anew when the answer is 220. All attributes are taken, or none. */
#include "server/internal.h"
#include "server/replies.h"

/* An empty value says that the address is not known. "IPV6:" may stand before (XCLIENT_README). */
static int xclient_address(smx_slice value, smx_address *address)
{
    if (value.len == 0) {
        *address = (smx_address){0};
        return 0;
    }
    if (slice_starts_with_nocase(value, SMX_SLICE("IPV6:")))
        value = slice_from(value, 5);
    uint16_t port = address->port;
    int error = smx_address_parse(value, address);
    address->port = port;
    return error;
}

static int xclient_port(smx_slice value, smx_address *address)
{
    uint64_t port = 0;
    if (value.len > 0 && slice_to_number(value, UINT16_MAX, &port) != 0)
        return SMX_E_SYNTAX;
    address->port = (uint16_t)port;
    return 0;
}

/* The attributes that change the view's values. */
static int xclient_values(const smx_xclient *x, smx_session_view *view)
{
    int error = 0;
    if (x->given[SMX_XCLIENT_ADDR])
        error = xclient_address(x->value[SMX_XCLIENT_ADDR], &view->client);
    if (error == 0 && x->given[SMX_XCLIENT_PORT])
        error = xclient_port(x->value[SMX_XCLIENT_PORT], &view->client);
    if (error == 0 && x->given[SMX_XCLIENT_DESTADDR])
        error = xclient_address(x->value[SMX_XCLIENT_DESTADDR], &view->server);
    if (error == 0 && x->given[SMX_XCLIENT_DESTPORT])
        error = xclient_port(x->value[SMX_XCLIENT_DESTPORT], &view->server);
    return error;
}

static int xclient_texts(peer *p, const smx_xclient *x, smx_session_view *view)
{
    int error = 0;
    view->helo = (smx_slice){0};
    if (x->given[SMX_XCLIENT_HELO])
        error = arena_copy(&p->memory, x->value[SMX_XCLIENT_HELO], &view->helo);
    if (error == 0 && x->given[SMX_XCLIENT_NAME])
        error = arena_copy(&p->memory, x->value[SMX_XCLIENT_NAME], &view->client_name);
    return error;
}

void peer_xclient(peer *p, const smx_xclient *x)
{
    smx_session_view view = p->guest.view;
    smx_slice login = x->given[SMX_XCLIENT_LOGIN] ? x->value[SMX_XCLIENT_LOGIN] : (smx_slice){0};
    const smx_user *user = login.len == 0 ? NULL : server_find_user(p->server, login);
    const smx_reply *reply = PEER_REPLY(XCLIENT_TAKEN);
    if (login.len > 0 && user == NULL)
        reply = PEER_REPLY(XCLIENT_USER);
    else if (xclient_values(x, &view) != 0)
        reply = PEER_REPLY(XCLIENT_VALUE);
    else if (xclient_texts(p, x, &view) != 0)
        reply = PEER_REPLY(NO_ROOM);
    if (reply == PEER_REPLY(XCLIENT_TAKEN)) {
        p->guest.view = view;
        peer_set_user(p, user);
    }
    peer_answer(p, reply);
}
