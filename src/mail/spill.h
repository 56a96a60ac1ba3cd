/* A file without a name, for what memory should not hold. */
#ifndef MAIL_SPILL_H
#define MAIL_SPILL_H

#include "base/slice.h"

/* Opens a file in `directory` (NULL: TMPDIR, or /tmp) that only its descriptor reaches and that goes
 * with it. SMX_E_IO. The caller closes. */
SMX_MUST_USE int spill_open(const char *directory, int *file);
/* All of `octets` at `offset`. SMX_E_LIMIT: the disk is full; SMX_E_IO. Some may have been written. */
SMX_MUST_USE int spill_write(int file, uint64_t offset, smx_slice octets);
/* Exactly `len` octets from `offset`. SMX_E_IO, also if the file ends before. Any thread. */
SMX_MUST_USE int spill_read(int file, uint64_t offset, char *out, size_t len);

#endif
