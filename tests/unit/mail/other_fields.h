/* The fields of a section that a rewrite of From may not touch. */
#ifndef TESTS_MAIL_OTHER_FIELDS_H
#define TESTS_MAIL_OTHER_FIELDS_H

#include "base/buffer.h"
#include "smx/message.h"
#include "support/unit_test.h"

static inline bool is_touched(const smx_field *field)
{
    return slice_equal_nocase(field->name, SMX_SLICE("From")) ||
           slice_equal_nocase(field->name, SMX_SLICE("Sender")) ||
           slice_equal_nocase(field->name, SMX_SLICE("Reply-To"));
}

static inline void append_others(smx_slice header, buffer *others)
{
    size_t at = 0;
    smx_field field;
    while (smx_field_next(header, &at, &field))
        if (!is_touched(&field))
            assert_int_equal(buffer_append(others, field.raw), 0);
}

#endif
