/* What is said to a token endpoint, and what it answers (RFC 6749 sections 4.4, 5 and 6). No I/O. */
#ifndef UPSTREAM_OAUTH2_EXCHANGE_H
#define UPSTREAM_OAUTH2_EXCHANGE_H

#include "base/buffer.h"
#include "upstream/oauth2.h"

/* The request's body. `refresh_token` stands in place of the options' one, which may be outdated. */
SMX_MUST_USE int oauth2_write_form(const oauth2_options *options, const char *refresh_token,
                                   buffer *form);

typedef struct oauth2_grant_answer {
    oauth2_state state;  /* TOKEN, REFUSED or UNAVAILABLE */
    char *token;         /* of TOKEN, as: */
    char *refresh_token; /* a new one, or NULL */
    uint64_t life_ms;    /* how long the token is good */
    char reason[OAUTH2_REASON];
} oauth2_grant_answer;

/* Its strings are the caller's. */
oauth2_grant_answer oauth2_read_answer(unsigned status, smx_slice body);
void oauth2_grant_answer_free(oauth2_grant_answer *answer);

#endif
