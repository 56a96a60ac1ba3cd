/* A message with more than 100 Received fields goes in circles (RFC 5321 section 6.3). */
#include "base/slice.h"
#include "middleware/middleware.h"

enum {
    RECEIVED_LIMIT = 100,
    TOO_MANY_OCTETS = (RECEIVED_LIMIT + 1) * (sizeof("Received:\r\n") - 1), /* at least */
};

static smx_verdict count_received(void *arg, smx_transaction *tx)
{
    (void)arg;
    smx_slice header = smx_transaction_header(tx);
    if (header.len + 2 < TOO_MANY_OCTETS || /* the last line may lack its end */
        smx_field_count(header, SMX_SLICE("Received")) <= RECEIVED_LIMIT)
        return (smx_verdict){.kind = SMX_CONTINUE};
    return (smx_verdict){SMX_REPLY_WITH,
                         SMX_REPLY(554, 5, 4, 6, "too many Received fields: a mail loop")};
}

const smx_middleware middleware_received_limit = {
    .version = SMX_MIDDLEWARE_VERSION,
    .name = "received_limit",
    .before = count_received,
};
