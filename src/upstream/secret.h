/* The credentials of an upstream as one text, to be compared: other ones end a suspension. */
#ifndef UPSTREAM_SECRET_H
#define UPSTREAM_SECRET_H

#include "upstream/upstream.h"

/* All that they are made of, one to a line; the caller's, to be wiped and freed. NULL without memory:
 * then a change is taken for granted. */
char *secret_of(const upstream_options *options);

#endif
