/* The mailboxes of an address list (RFC 5322 section 3.4 with the obsolete forms of 4.4, RFC 6532):
 * a run of tokens up to a comma, a semicolon or the end, split at its angle bracket. What can be
 * read in two ways is refused, since another reader may choose the other one. Owns nothing. */
#include "mail/field_mailbox.h"

#include "mail/field_token.h"

/* From the first to the last token put in. */
typedef struct field_span {
    const char *start;
    const char *end;
} field_span;

static void field_span_add(field_span *span, smx_slice text)
{
    if (span->start == NULL)
        span->start = text.data;
    span->end = text.data + text.len;
}

static smx_slice field_span_slice(const field_span *span)
{
    return span->start == NULL ? slice_of("", 0)
                               : slice_of(span->start, (size_t)(span->end - span->start));
}

/* What is known of a mailbox while its tokens are read. */
typedef struct field_reading {
    field_span all;   /* with comments, without outer blanks */
    field_span words; /* without outer comments; before the angle bracket */
    field_mailbox found;
} field_reading;

/* obs-route (section 4.4): "@a,@b:" before the address. Moves past it. SMX_E_SYNTAX. */
static int field_skip_route(smx_slice value, size_t *at)
{
    size_t next = *at;
    field_token token = field_token_next_word(value, &next);
    if (!field_token_is(token, '@') && !field_token_is(token, ','))
        return 0;
    while (!field_token_is(token, ':')) {
        if (token.kind == FIELD_END || token.kind == FIELD_INVALID || field_token_is(token, '>') ||
            field_token_is(token, '<'))
            return SMX_E_SYNTAX;
        token = field_token_next_word(value, &next);
    }
    *at = next;
    return 0;
}

/* From behind "<" to behind ">". */
static int field_read_angle(smx_slice value, size_t *at, field_reading *reading)
{
    size_t start = *at;
    field_span words = {0};
    int error = field_skip_route(value, at);
    if (error != 0)
        return error;
    for (;;) {
        field_token token = field_token_next_word(value, at);
        if (field_token_is(token, '>')) {
            reading->found.inner = slice_of(value.data + start, *at - 1 - start);
            reading->found.mailbox.address = field_span_slice(&words);
            reading->found.mailbox.angle = true;
            field_span_add(&reading->all, token.text);
            return 0;
        }
        if (token.kind == FIELD_END || token.kind == FIELD_INVALID || field_token_is(token, '<') ||
            field_token_is(token, ',') || field_token_is(token, ';') || field_token_is(token, ':'))
            return SMX_E_SYNTAX;
        field_span_add(&words, token.text);
    }
}

/* A special among the tokens of a mailbox. */
static int field_read_special(smx_slice value, size_t *at, field_token token,
                              field_reading *reading)
{
    if (reading->found.mailbox.angle || strchr(")]>", token.text.data[0]) != NULL)
        return SMX_E_SYNTAX;
    field_span_add(&reading->all, token.text);
    if (field_token_is(token, '<'))
        return field_read_angle(value, at, reading);
    if (!field_token_is(token, ':')) {
        field_span_add(&reading->words, token.text);
        return 0;
    }
    /* The name of a group: its mailboxes follow. */
    if (reading->words.start == NULL || reading->found.in_group)
        return SMX_E_SYNTAX;
    *reading = (field_reading){.found.in_group = true};
    return 0;
}

static int field_read_token(smx_slice value, size_t *at, field_token token, field_reading *reading)
{
    switch (token.kind) {
    case FIELD_BLANK:
        return 0;
    case FIELD_COMMENT:
        field_span_add(&reading->all, token.text);
        return 0;
    case FIELD_SPECIAL:
        return field_read_special(value, at, token, reading);
    case FIELD_QUOTED:
    case FIELD_LITERAL:
    case FIELD_ATOM:
        if (reading->found.mailbox.angle)
            return SMX_E_SYNTAX;
        field_span_add(&reading->all, token.text);
        field_span_add(&reading->words, token.text);
        return 0;
    case FIELD_END:
    case FIELD_INVALID:
        break;
    }
    return SMX_E_SYNTAX;
}

/* Whether the tokens read make a mailbox. */
static bool field_reading_finish(field_reading *reading)
{
    smx_field_mailbox *mailbox = &reading->found.mailbox;
    smx_slice words = field_span_slice(&reading->words);
    if (!mailbox->angle && words.len == 0)
        return false;
    mailbox->raw = field_span_slice(&reading->all);
    mailbox->display = mailbox->angle ? words : slice_of("", 0);
    if (!mailbox->angle) {
        mailbox->address = words;
        reading->found.inner = words;
    }
    return true;
}

int field_mailbox_next(smx_slice value, size_t *at, field_mailbox *found)
{
    size_t next = *at;
    field_reading reading = {0};
    for (;;) {
        field_token token = field_token_next(value, &next);
        bool separator = field_token_is(token, ',') || field_token_is(token, ';');
        if (token.kind != FIELD_END && !separator) {
            int error = field_read_token(value, &next, token, &reading);
            if (error != 0)
                return error;
            continue;
        }
        *at = next;
        if (field_reading_finish(&reading)) {
            *found = reading.found;
            return 1;
        }
        if (token.kind == FIELD_END)
            return 0;
        /* Empty members are passed over (obs-mbox-list). */
        bool in_group = reading.found.in_group && !field_token_is(token, ';');
        reading = (field_reading){.found.in_group = in_group};
    }
}

bool field_mailbox_is_last(smx_slice value, size_t at)
{
    return field_token_next_word(value, &at).kind == FIELD_END;
}

int smx_field_next_mailbox(smx_slice value, size_t *at, smx_field_mailbox *mailbox)
{
    field_mailbox found;
    int result = field_mailbox_next(value, at, &found);
    if (result == 1)
        *mailbox = found.mailbox;
    return result;
}
