/* The lexical tokens of structured field values (RFC 5322 section 3.2). */
#ifndef MAIL_FIELD_TOKEN_H
#define MAIL_FIELD_TOKEN_H

#include "base/slice.h"

typedef enum field_token_kind {
    FIELD_END,     /* of the value */
    FIELD_INVALID, /* an open quote, comment or literal; NUL; a line break that does not fold */
    FIELD_BLANK,   /* blanks and folding */
    FIELD_COMMENT, /* nested ones included */
    FIELD_QUOTED,
    FIELD_LITERAL, /* [...] */
    FIELD_ATOM,    /* a run of octets that are none of the others */
    FIELD_SPECIAL, /* one of , ; : < > @ . and stray ) ] */
} field_token_kind;

typedef struct field_token {
    field_token_kind kind;
    smx_slice text;
} field_token;

/* The token at *at, which moves behind it. */
field_token field_token_next(smx_slice value, size_t *at);
/* The same, past blanks and comments. */
field_token field_token_next_word(smx_slice value, size_t *at);
/* Whether the token is this special. */
bool field_token_is(field_token token, char special);

#endif
