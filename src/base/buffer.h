/* A growable run of octets: written at its end, read from its start. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdarg.h>

#include "base/slice.h"

/* Zero is a valid empty buffer. The memory belongs to the buffer; slices of it live until the next
 * call that changes it. */
typedef struct buffer {
    char *data;
    size_t start; /* first octet not yet read */
    size_t end;   /* behind the last octet written */
    size_t capacity;
} buffer;

void buffer_free(buffer *b);

/* The octets not yet read. */
static inline smx_slice buffer_slice(const buffer *b)
{
    return (smx_slice){b->data == NULL ? "" : b->data + b->start, b->end - b->start};
}

static inline size_t buffer_length(const buffer *b)
{
    return b->end - b->start;
}

/* Makes room for `more` octets at `data + end`. SMX_E_NOMEM leaves the buffer as it was. */
SMX_MUST_USE int buffer_reserve(buffer *b, size_t more);

static inline SMX_MUST_USE int buffer_append(buffer *b, smx_slice s)
{
    if (s.len == 0)
        return 0;
    if (b->capacity - b->end < s.len && buffer_reserve(b, s.len) != 0)
        return SMX_E_NOMEM;
    memcpy(b->data + b->end, s.data, s.len);
    b->end += s.len;
    return 0;
}

static inline SMX_MUST_USE int buffer_append_text(buffer *b, const char *text)
{
    return buffer_append(b, slice_of_text(text));
}

static inline SMX_MUST_USE int buffer_append_char(buffer *b, char c)
{
    if (b->capacity == b->end && buffer_reserve(b, 1) != 0)
        return SMX_E_NOMEM;
    b->data[b->end++] = c;
    return 0;
}

/* In decimal. */
SMX_MUST_USE int buffer_append_number(buffer *b, uint64_t number);
/* printf at the end of the buffer; all or nothing. */
SMX_MUST_USE int buffer_printf(buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Forgets the first `count` octets (at most the length). An emptied buffer keeps its memory. */
void buffer_consume(buffer *b, size_t count);
/* Forgets all octets and keeps the memory. */
void buffer_clear(buffer *b);
/* Forgets the octets behind the first `len` unread ones. */
void buffer_truncate(buffer *b, size_t len);

#endif
