/* Fields that a message should have and does not (RFC 5322 section 3.6; RFC 6409 section 8). */
#ifndef MAIL_MISSING_FIELDS_H
#define MAIL_MISSING_FIELDS_H

#include "base/buffer.h"

/* What they are made of, if they are wanted. */
typedef struct missing_fields {
    bool date;
    bool message_id;
    uint64_t wall_ms; /* of Date */
    smx_slice id;     /* of Message-ID: <id@host>; both are the caller's own, dot-atoms */
    smx_slice host;
} missing_fields;

/* Appends those that the header section has not, whatever is in it under their names. SMX_E_NOMEM:
 * nothing was appended. */
SMX_MUST_USE int missing_fields_write(const missing_fields *wanted, smx_slice header, buffer *out);

#endif
