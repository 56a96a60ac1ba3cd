/* A mailbox of an address list with what a change of its address must know. */
#ifndef MAIL_FIELD_MAILBOX_H
#define MAIL_FIELD_MAILBOX_H

#include "base/slice.h"
#include "smx/message.h"

typedef struct field_mailbox {
    smx_field_mailbox mailbox;
    smx_slice inner; /* what another address takes the place of: all within < >, or the address */
    bool in_group;   /* told only of the first mailbox of a value */
} field_mailbox;

/* As smx_field_next_mailbox. */
SMX_MUST_USE int field_mailbox_next(smx_slice value, size_t *at, field_mailbox *found);
/* True if nothing but blanks and comments is left from `at` on. */
bool field_mailbox_is_last(smx_slice value, size_t at);

#endif
