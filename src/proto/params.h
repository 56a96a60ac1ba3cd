/* The values of MAIL's and RCPT's parameters, judged alike when read and when written. */
#ifndef PROTO_PARAMS_H
#define PROTO_PARAMS_H

#include "base/slice.h"
#include "smx/proto.h"

/* NOTIFY's words with their bits. */
#define PARAM_NOTIFY_MAP(X)                                                                        \
    X(NEVER)                                                                                       \
    X(SUCCESS)                                                                                     \
    X(FAILURE)                                                                                     \
    X(DELAY)

/* RFC 3461 section 4.4: at most 100 octets of xtext, printable when decoded. */
bool param_envid_is_valid(smx_slice envid);
/* RFC 3461 section 4.2: addr-type ";" xtext, at most 500 octets. With `utf8` and the type utf-8 the
 * address may be UTF-8 (RFC 6533 section 3). */
bool param_orcpt_is_valid(smx_slice orcpt, bool utf8);
/* RFC 4954 section 5: `<>`, or xtext. */
bool param_auth_is_valid(smx_slice auth);
/* RFC 3461 section 4.1: some of the words, NEVER alone. */
bool param_notify_is_valid(unsigned notify);

#endif
