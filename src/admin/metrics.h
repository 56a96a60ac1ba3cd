/* The metrics in the text format of Prometheus, version 0.0.4, by a table with a line for each. */
#ifndef ADMIN_METRICS_H
#define ADMIN_METRICS_H

#include "admin/status.h"
#include "base/buffer.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* SMX_E_NOMEM leaves the buffer with a part. */
SMX_MUST_USE int metrics_write(const admin_status *status, buffer *out);

#endif
