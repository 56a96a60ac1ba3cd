/* What tests of values begin with: cmocka, what it asks for before it, and a word for slices. */
#ifndef TESTS_SUPPORT_UNIT_TEST_H
#define TESTS_SUPPORT_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/slice.h"

#define assert_slice(slice, text)                                                                  \
    do {                                                                                           \
        smx_slice assert_found_ = (slice);                                                         \
        assert_int_equal(assert_found_.len, strlen(text));                                         \
        assert_memory_equal(assert_found_.len == 0 ? "" : assert_found_.data, text, strlen(text)); \
    } while (0)

#endif
