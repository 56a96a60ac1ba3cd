/* Faults on demand: what a sink does wrong, where, and how often. */
#ifndef APP_SINK_FAULTS_H
#define APP_SINK_FAULTS_H

#include "base/problem.h"

/* phase and its word in --fail */
#define SINK_PHASE_MAP(X)                                                                          \
    X(CONNECT, "connect")                                                                          \
    X(EHLO, "ehlo")                                                                                \
    X(STARTTLS, "starttls")                                                                        \
    X(AUTH, "auth")                                                                                \
    X(MAIL, "mail")                                                                                \
    X(RCPT, "rcpt")                                                                                \
    X(DATA, "data")                                                                                \
    X(BODY, "body")           /* within the body */                                                \
    X(DOT, "dot")             /* in place of the final reply; the message counts as not taken */   \
    X(AFTER_DOT, "after-dot") /* the same, but the message was taken: its outcome is unknown */

typedef enum sink_phase {
#define SINK_PHASE_ENTRY(name, text) SINK_##name,
    SINK_PHASE_MAP(SINK_PHASE_ENTRY)
#undef SINK_PHASE_ENTRY
        SINK_PHASE_COUNT
} sink_phase;

typedef enum sink_action {
    SINK_ACTION_NONE,
    SINK_ACTION_REPLY,   /* `code` */
    SINK_ACTION_CLOSE,   /* the connection is closed without a word */
    SINK_ACTION_RESET,   /* ... and reset */
    SINK_ACTION_STALL,   /* nothing more is said */
    SINK_ACTION_GARBAGE, /* octets that are no reply */
} sink_action;

typedef struct sink_fault {
    sink_phase phase;
    sink_action action;
    uint16_t code;
    double probability; /* 0 to 1 */
} sink_fault;

enum { SINK_FAULTS_MAX = 32 };

typedef struct sink_faults {
    sink_fault faults[SINK_FAULTS_MAX];
    size_t count;
    uint64_t random; /* state of the generator: the same seed gives the same faults */
} sink_faults;

/* Adds PHASE:WHAT[:PROBABILITY], where WHAT is a code, close, reset, stall or garbage; or
 * drop-after-dot[:PROBABILITY]. The problem says what was expected. */
SMX_MUST_USE int sink_faults_add(sink_faults *faults, smx_slice text, problem *p);

/* What to do in this phase now; NONE most of the time. */
sink_fault sink_faults_draw(sink_faults *faults, sink_phase phase);

/* Reads 100/h, 5/s, 1000/day, 20/m: *count in *window_ms. */
SMX_MUST_USE int sink_limit_parse(smx_slice text, uint32_t *count, uint64_t *window_ms, problem *p);

#endif
