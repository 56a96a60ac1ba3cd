/* See suitable.h. */
#include "upstream/suitable.h"

#include <stddef.h>

const char *upstream_unsuitable(const upstream_needs *needs, upstream_offer offer, smx_reply *reply)
{
    if (offer.max_size != 0 && needs->size > offer.max_size) {
        *reply = SMX_REPLY(552, 5, 3, 4, "the message is larger than any provider takes");
        return "the message is larger than its SIZE";
    }
    if (needs->eight_bit && (offer.extensions & SMX_EXT_8BITMIME) == 0) {
        *reply = SMX_REPLY(554, 5, 6, 3, "no provider takes 8-bit messages");
        return "it does not offer 8BITMIME";
    }
    if (needs->smtputf8 && (offer.extensions & SMX_EXT_SMTPUTF8) == 0) {
        *reply = SMX_REPLY(550, 5, 6, 7, "no provider takes internationalized addresses");
        return "it does not offer SMTPUTF8";
    }
    if (needs->requiretls && (offer.extensions & SMX_EXT_REQUIRETLS) == 0) {
        *reply = SMX_REPLY(550, 5, 7, 30, "no provider offers REQUIRETLS");
        return "it does not offer REQUIRETLS in verified TLS";
    }
    if (needs->dsn && (offer.extensions & SMX_EXT_DSN) == 0) {
        *reply = SMX_REPLY(550, 5, 3, 3, "no provider takes NOTIFY");
        return "it does not offer DSN";
    }
    return NULL;
}
