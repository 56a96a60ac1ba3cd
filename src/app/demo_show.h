/* What the demo prints on standard output; in colours on a terminal. */
#ifndef APP_DEMO_SHOW_H
#define APP_DEMO_SHOW_H

#include "app/demo_ledger.h"
#include "app/demo_sender.h"

typedef struct demo_show {
    bool is_terminal;
    bool is_colourful;
    unsigned column;   /* cells printed in this row */
    int padding;       /* before the next one */
    bool has_failover; /* in this phase */
    bool has_refusal;
} demo_show;

/* What became of one message. */
typedef struct demo_outcome {
    uint32_t number;
    const demo_answer *answer;
    const char *taker;  /* NULL: nobody has it */
    const char *failed; /* who was asked before, and did not take it, or NULL */
} demo_outcome;

/* Counts of one provider: its own records, and the multiplexer's counters. */
typedef struct demo_counts {
    const char *name;
    uint32_t taken;
    uint64_t refused;
    uint64_t broken;
    uint32_t passed_on;
} demo_counts;

void demo_show_begin(demo_show *show);
void demo_show_intro(const demo_show *show, uint32_t messages);
void demo_show_phase(demo_show *show, unsigned number, const char *title, const char *why);
void demo_show_message(demo_show *show, const demo_outcome *outcome);
/* Behind the last message of a phase. */
void demo_show_phase_end(demo_show *show);
void demo_show_counts(const demo_show *show, const demo_counts *counts, size_t count);
/* The last line says whether all is well. */
void demo_show_verdict(const demo_show *show, const demo_verdict *verdict);
/* How to send a message of one's own. */
void demo_show_invitation(const demo_show *show, const demo_account *account);

#endif
