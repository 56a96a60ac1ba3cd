/* Values of single words: durations, sizes, numbers, yes and no; read and written. */
#ifndef APP_SCALAR_H
#define APP_SCALAR_H

#include "base/buffer.h"

/* Each gives SMX_E_SYNTAX for what is no such value, SMX_E_RANGE for one that is too large. */

/* `500ms`, `30s`, `5m`, `1h`, `0`: milliseconds. */
SMX_MUST_USE int scalar_duration(smx_slice text, uint32_t *ms);
/* `25MiB`, `10M`, `10MB`, `64KiB`, plain octets; K, M and G alone are 1000's powers, with an i
 * 1024's. */
SMX_MUST_USE int scalar_size(smx_slice text, uint64_t *octets);
/* true, false, yes, no, on, off. */
SMX_MUST_USE int scalar_bool(smx_slice text, bool *value);

/* The shortest form that reads back the same. */
SMX_MUST_USE int scalar_write_duration(uint32_t ms, buffer *out);
SMX_MUST_USE int scalar_write_size(uint64_t octets, buffer *out);
/* Plain where YAML reads that back as it is, else in double quotes; `${` is kept from expanding. */
SMX_MUST_USE int scalar_write_text(smx_slice text, buffer *out);

#endif
