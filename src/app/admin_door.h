/* The admin of a daemon: opened as the configuration says, and anew when a reload changes that. */
#ifndef APP_ADMIN_DOOR_H
#define APP_ADMIN_DOOR_H

#include "app/admin_ops.h"

typedef struct admin_door admin_door;

/* The target outlives it. */
SMX_MUST_USE int admin_door_new(admin_target *target, admin_door **door);
/* Opens what `c` (of which it takes a share) says, if that is not open already. The log tells where.
 * A failure is one only if the file names the address; the log has a warning else. Not from an
 * operation of the admin. */
SMX_MUST_USE int admin_door_apply(admin_door *door, config *c, problem *p);
/* NULL is nothing. */
void admin_door_free(admin_door *door);

#endif
