/* The first line of a client that is none of mail. */
#ifndef SESSION_HTTP_LINE_H
#define SESSION_HTTP_LINE_H

#include "smx/proto.h"

/* A browser made to send mail (the ALPACA attack) gives itself away in its first line. */
bool session_line_is_http(const smx_command *command);

#endif
