/* The name behind EHLO, HELO and LHLO, which both machines judge alike. */
#ifndef SESSION_HELLO_NAME_H
#define SESSION_HELLO_NAME_H

#include <stdbool.h>

#include "smx/proto.h"

/* True for one word of printable ASCII of at most SMX_DOMAIN_MAX octets. Whether it names the client
 * is not judged (RFC 5321 section 4.1.4: mail must not be refused for it), but it must be fit for a
 * Received field (ATTACKS 20). */
bool session_hello_name_is_valid(smx_slice name);

#endif
