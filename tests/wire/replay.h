/* What the two halves of the replayer share. */
#ifndef TESTS_WIRE_REPLAY_H
#define TESTS_WIRE_REPLAY_H

#include "case.h"
#include "smx/proto.h"

typedef void replay_fn(wire_case *c, smx_slice in, size_t chunk);

replay_fn replay_dot_decode;
replay_fn replay_dot_encode;
replay_fn replay_newline_check;
replay_fn replay_reply;
replay_fn replay_proxy;

#endif
