/* What verbs print of a daemon's answers. */
#ifndef APP_ADMIN_SHOW_H
#define APP_ADMIN_SHOW_H

#include <jansson.h>

/* A table of upstreams (an array of what GET /api/upstreams has) on standard output. */
void admin_show_upstreams(const json_t *upstreams);
/* The answer of a test, a line for each step. */
void admin_show_test(const json_t *answer);

#endif
