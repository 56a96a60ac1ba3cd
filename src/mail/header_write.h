/* A field written from name and value, safe against values that would forge another field. */
#ifndef MAIL_HEADER_WRITE_H
#define MAIL_HEADER_WRITE_H

#include "base/buffer.h"

/* Whether name and value make one field and no more (ATTACKS 20). */
bool header_field_is_valid(smx_slice name, smx_slice value);
/* Whether `out` may take a field now: a line that is not ended gets its CRLF. */
SMX_MUST_USE int header_end_line(buffer *out);
/* "Name: value" and CRLF; the blank only if the value begins with none. */
SMX_MUST_USE int header_write_field(buffer *out, smx_slice name, smx_slice value);

#endif
