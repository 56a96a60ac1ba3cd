/* Where the admin listens: the key `admin`, and what is without it. */
#ifndef APP_ADMIN_KEYS_H
#define APP_ADMIN_KEYS_H

#include "app/config.h"

#define ADMIN_FOLDER "/run/smtpmux"
#define ADMIN_LISTEN "unix:" ADMIN_FOLDER "/admin.sock"

/* "unix:/path" or "host:port"; NULL: nowhere. Without the key it is ADMIN_LISTEN if its folder is
 * there; *is_asked tells that the file names it, so that it must work. */
const char *admin_listen(const config *c, bool *is_asked);

#endif
