/* What the unit tests of proto share. */
#ifndef TESTS_UNIT_PROTO_H
#define TESTS_UNIT_PROTO_H

#include "base/buffer.h"
#include "smx/proto.h"
#include "support/unit_test.h"

#define TEST_COUNT(tests) (sizeof(tests) / sizeof((tests)[0]))

#endif
