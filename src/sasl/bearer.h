/* XOAUTH2 and OAUTHBEARER (RFC 7628): an OAuth2 access token in place of a password. */
#ifndef SASL_BEARER_H
#define SASL_BEARER_H

#include "base/buffer.h"

enum { BEARER_STATUS = 64 };

/* The initial response, behind `output`. SMX_E_INVALID: name or token hold octets that may not stand
 * there. */
SMX_MUST_USE int bearer_xoauth2(const char *user, const char *token, buffer *output);
SMX_MUST_USE int bearer_oauthbearer(const char *user, const char *token, buffer *output);

/* The `status` of a server's JSON about a refused token; what is not printable becomes '?'. "" where
 * there is none. */
void bearer_read_status(smx_slice json, char status[static BEARER_STATUS]);

#endif
