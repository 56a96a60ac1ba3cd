/* A worker: one event loop of one thread, and what its sessions share (buffers, timers, resolver).
 *
 * Everything of libsmx that does I/O hangs off a loop and is used on the loop's thread, but for the
 * functions that say "any thread". A program with several threads has one loop in each.
 */
#ifndef SMX_LOOP_H
#define SMX_LOOP_H

#include "smx/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;

typedef struct smx_loop smx_loop;

/* On the caller's libuv loop, which must outlive it, or on one of its own (`uv` NULL). The thread that
 * runs it has SIGPIPE blocked from the first turn on: a peer that went away must not end the program. */
SMX_API SMX_MUST_USE int smx_loop_new(struct uv_loop_s *uv, smx_loop **loop);

/* Runs until smx_loop_stop. Only for a loop of its own; else the caller runs libuv's loop. */
SMX_API void smx_loop_run(smx_loop *loop);

/* Makes smx_loop_run return soon. Any thread, and signal handlers. */
SMX_API void smx_loop_stop(smx_loop *loop);

/* Runs fn(arg) on the loop's thread, in the order of the calls. Any thread. SMX_E_NOMEM. */
typedef void smx_loop_fn(void *arg);
SMX_API SMX_MUST_USE int smx_loop_post(smx_loop *loop, smx_loop_fn *fn, void *arg);

/* The loop's libuv loop. */
SMX_API struct uv_loop_s *smx_loop_uv(smx_loop *loop);

/* Closes what is left on the loop, waits for the last callbacks and frees it. Servers and clients on
 * it are to be freed before. NULL is nothing. */
SMX_API void smx_loop_free(smx_loop *loop);

#ifdef __cplusplus
}
#endif

#endif
