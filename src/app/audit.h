/* What is told of each transaction of a transparent proxy: a line of JSON, and one in the log. */
#ifndef APP_AUDIT_H
#define APP_AUDIT_H

#include "app/log.h"
#include "base/buffer.h"
#include "smx/proxy.h"

/* The line of the audit file, with its newline. `log` hides people where it anonymizes. */
SMX_MUST_USE int audit_line(const smx_proxy_record *record, const log_sink *log, buffer *out);

/* The summary of a transaction: event=message. Of a session without one nothing is told. */
void audit_log(const smx_proxy_record *record, log_sink *log);

#endif
