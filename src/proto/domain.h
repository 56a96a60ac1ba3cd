/* Domains as most are: names in ASCII. */
#ifndef PROTO_DOMAIN_H
#define PROTO_DOMAIN_H

#include "base/slice.h"

/* Octets of the name at the start of `in` that is valid without SMTPUTF8, found and judged in one
 * pass; or 0, which does not say that no other domain stands there. */
size_t domain_ascii_name(smx_slice in);

#endif
