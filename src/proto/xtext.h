/* What xtext may hold where the RFCs narrow it. */
#ifndef PROTO_XTEXT_H
#define PROTO_XTEXT_H

#include "base/slice.h"

/* Reads one octet of xtext at `*at`; false for malformed xtext. */
bool xtext_next(smx_slice in, size_t *at, unsigned char *octet);

/* True for xtext, possibly empty, whose octets are all printable ASCII or blank once decoded. */
bool xtext_is_printable(smx_slice in);

/* True for well-formed xtext. */
bool xtext_is_valid(smx_slice in);

#endif
