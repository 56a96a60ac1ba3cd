/* A cut-through from inside: cut_through.c has its attempts and its life, cut_recipients.c who is asked
 * for and what they are told, cut_message.c what comes behind DATA. */
#ifndef MUX_CUT_INTERNAL_H
#define MUX_CUT_INTERNAL_H

#include "mux/cut_through.h"

/* What is done when the attempt that is given up has ended. */
typedef enum cut_after {
    CUT_AFTER_NOTHING, /* it is not given up */
    CUT_AFTER_REFUSAL, /* the next upstream is asked for the recipient that this one refused */
    CUT_AFTER_TROUBLE, /* the next one is tried: this one could not be told more */
    CUT_AFTER_CHANGE,  /* the same one again: the message is another one now */
    CUT_AFTER_QUOTA,   /* the next one is tried: this one has no quota left for all recipients */
    CUT_AFTER_ABANDON, /* nothing */
} cut_after;

struct cut_through {
    delivery delivery;
    arena memory;
    smx_envelope
        envelope; /* the sender as the client named it, and who is asked for here: those that
                              were promised, those that this upstream refused, one that waits */
    size_t capacity;
    bool *
        taken; /* for each of these: this upstream or one before took it: the client was told 250 */
    size_t promised; /* how many are */
    smx_message *message;
    smx_submission submission; /* as far as the client has come */
    cut_after after;
    bool handled;        /* the message is whole: from here on it is a delivery like any other */
    bool lost;           /* no upstream is left for those that were promised */
    bool fresh;          /* 421 to a recipient or to DATA: once more on a fresh connection */
    bool answered;       /* a recipient has its reply from this attempt */
    bool header_due;     /* the header section is whole, and not yet composed */
    bool begun;          /* what we add to the header section is composed */
    bool header_edited;  /* hooks have changed the header section ... */
    smx_slice header;    /* ... to this */
    loop_turn_end grown; /* tells the attempt at the turn's end */

    /* The recipient that waits for its reply. */
    bool waiting;
    smx_hooks *hooks;
    smx_ticket ticket;
    smx_reply refusal; /* the last upstream's own; code 0: none */
    smx_reply answer;  /* without memory for it: the answer, without its text, later */
    timer_entry again;
};

/* ---- cut_through.c ---- */

/* What the client asks for now may take so long. */
void cut_renew_deadline(cut_through *cut);
/* The store is being asked, or a window waited for. */
bool cut_is_at_the_door(const cut_through *cut);
/* Gives the attempt up; what comes then is said by `after`. */
void cut_leave(cut_through *cut, cut_after after);
/* Tells the attempt, if there is one, how far the submission has come. */
SMX_MUST_USE int cut_advance(cut_through *cut);
void cut_advance_or_leave(cut_through *cut);
/* What we add to the header section, once. */
SMX_MUST_USE int cut_begin_header(cut_through *cut);
/* The submission through this upstream, at the stage that it has. */
SMX_MUST_USE int cut_compose(cut_through *cut, const upstream_options *o);

/* ---- cut_recipients.c ---- */

/* The next upstream hears nothing of those that the one before refused. */
void cut_drop_refused(cut_through *cut);
/* The recipients, as they stand in our list, under the sender of this upstream. */
void cut_address(cut_through *cut);
/* What the refusal of the last recipient means, as if it was the whole attempt's: fills both. */
mux_classified cut_classify_refusal(const cut_through *cut, upstream_result *result,
                                    smx_client_result *client, const smx_reply *reply);
/* What a recipient is told whom no upstream takes: 5xx only if every one refused for good, else the
 * last one's own 4xx, or why none of them could be asked. */
void cut_answer_exhausted(cut_through *cut);
/* For `again`, and for an attempt: its `arg` is the delivery. */
void cut_answer_again(timer_entry *self);
void cut_on_recipient(void *arg, size_t index, const smx_reply *reply);

/* ---- cut_message.c ---- */

/* For `grown`. */
void cut_grown(loop_turn_end *self);

#endif
