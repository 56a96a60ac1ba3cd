/* A hook that does in one phase what it was told, and counts all. */
#ifndef TEST_SERVER_HOOK_SCRIPT_H
#define TEST_SERVER_HOOK_SCRIPT_H

#include "fixture.h"

/* What a scripted hook does, and what it saw. */
typedef struct script {
    smx_hook hook;
    smx_hook_phase phase; /* where it does it; elsewhere it continues */
    smx_verdict verdict;
    void (*change)(smx_hook_call *call);
    bool later;          /* the test answers by ticket */
    bool answer_at_once; /* by ticket, from within the call */
    smx_hooks *table;
    atomic_uint_fast64_t ticket;
    atomic_int calls[SMX_HOOK_PHASE_COUNT];
    char seen[256]; /* text of the last call of `phase` */
    atomic_int released;
} script;

/* `kind` is said in `phase`; a refusal says 550 5.7.9. */
void script_init(script *s, const char *name, smx_hook_phase phase, smx_verdict_kind kind);
/* The test answers by ticket. */
void script_later(script *s, smx_hook_phase phase);

#endif
