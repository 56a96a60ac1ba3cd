/* A message on its way through hooks: its envelope, its octets as far as they have come, and the
 * changes that hooks asked for. All strings lie in its arena. Server and proxy have one for each
 * transaction; where the octets go is theirs to say. */
#ifndef HOOK_DRAFT_H
#define HOOK_DRAFT_H

#include "base/buffer.h"
#include "hook/runner.h"

/* Zero is an empty draft. */
typedef struct draft {
    arena memory;
    smx_envelope envelope;
    size_t capacity;           /* of the envelope's recipients */
    smx_message *message;      /* NULL before draft_begin */
    smx_header_edit *edit;     /* NULL: nothing was changed */
    hook_change *first_change; /* of the header section, asked for before it was whole */
    hook_change *last_change;
    buffer chunk;              /* octets that wait for a hook */
    uint8_t header_state;      /* octets of CRLF CRLF seen, for where the body begins */
    bool header_told;          /* the HEADER hooks were asked */
    bool ended;                /* no more octets come */
    bool body_changed;         /* some chunk was replaced */
    smx_newline_check newline; /* of the replaced body */
} draft;

/* An empty message, which is the draft's from now on. */
void draft_begin(draft *d, smx_message *message);
/* The same with a new one. */
SMX_MUST_USE int draft_open(draft *d, const smx_message_options *options);
/* Drops octets and edits; the envelope stays. */
void draft_drop(draft *d);
/* Over: the arena's memory is kept for the next one. */
void draft_reset(draft *d);
void draft_free(draft *d);

/* Adds `rcpt`, whose strings lie in the draft's memory, unless it is NULL, and makes the changes of a
 * phase, or keeps them until the header section is whole. On failure the envelope and what is kept are as before. */
SMX_MUST_USE int draft_change(draft *d, const smx_rcpt *rcpt, const hook_change *changes);
/* The header section is whole: the changes that waited are made. */
SMX_MUST_USE int draft_change_header(draft *d);
/* The header section as the changes have left it; its data is NULL when out of memory. */
smx_slice draft_header(const draft *d);
/* The edits of the header section. SMX_E_NOMEM. */
SMX_MUST_USE int draft_edit(draft *d);
/* The last body that the changes put in the place of the old one; false: none did. */
bool draft_new_body(const hook_change *changes, smx_slice *body);
SMX_MUST_USE int draft_replace_body(draft *d, smx_slice body, const smx_message_options *options);

/* Octets of `octets` up to and with the empty line that ends the header section; all if it is not
 * among them. They must be those that follow the ones before. */
size_t draft_header_length(draft *d, smx_slice octets);
bool draft_is_in_header(const draft *d);
/* The chunk that a hook of BODY has seen, or what it put there. It lives until the chunk changes. */
smx_slice draft_chunk(draft *d, const hook_change *changes);
/* False: what hooks made of the body cannot be sent (ATTACKS 4). */
bool draft_is_sendable(draft *d);

#endif
