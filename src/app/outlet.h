/* Files, and standard output, that lines are appended to by a thread of their own: a disk that is full
 * or slow, and a reader that does not read, hold up no mail. What cannot be written is lost: counted,
 * and told in the log once until something could be written again. */
#ifndef APP_OUTLET_H
#define APP_OUTLET_H

#include "app/log.h"
#include "base/problem.h"
#include "base/slice.h"

typedef struct outlets outlets;
typedef struct outlet outlet;

SMX_MUST_USE int outlets_new(log_sink *log, outlets **out);
/* Writes what waits, for at most two seconds, and closes. NULL is nothing. */
void outlets_free(outlets *all);

/* The outlet of this path, opened at its first mention and kept until the end; "stdout" is standard
 * output. The problem says why it cannot be. Any thread. */
SMX_MUST_USE int outlets_open(outlets *all, const char *path, outlet **out, problem *p);
/* Whole lines. To a file each call is one write(2). Any thread. */
void outlet_write(outlet *o, smx_slice lines);
/* Appends to a file that is opened, and made if it is not there, and closed again. Any thread. */
void outlets_append(outlets *all, const char *path, smx_slice text);
/* Files are opened anew by their names, after those who rotate logs have moved them. Any thread. */
void outlets_reopen(outlets *all);
/* Pieces that were lost. Any thread. */
uint64_t outlets_lost(const outlets *all);

#endif
