/* The built-in middlewares and hooks: one descriptor a file. A new one takes a new file and a line
 * here. */
#ifndef MIDDLEWARE_MIDDLEWARE_H
#define MIDDLEWARE_MIDDLEWARE_H

#include "smx/server.h"

extern const smx_hook hook_allow_from;                 /* at MAIL: may the user send from there? */
extern const smx_middleware middleware_allow_from;     /* the same for the From field */
extern const smx_middleware middleware_received_limit; /* 554 5.4.6: a loop */

/* What hook_allow_from asks: may the user, or nobody (NULL), send from this address? */
bool allow_from_permits(const smx_user *user, smx_slice address);
/* What middleware_allow_from asks; `scratch` has room for the header section. */
bool allow_from_permits_header(const smx_user *user, smx_slice header, char *scratch);

#endif
