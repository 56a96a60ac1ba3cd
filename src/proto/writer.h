/* Writing into memory of a fixed size: the first octet that does not fit ends it for good. */
#ifndef PROTO_WRITER_H
#define PROTO_WRITER_H

#include "base/digits.h"

typedef struct writer {
    char *out;
    size_t capacity;
    size_t len;
    bool full; /* something did not fit: what was written is of no use */
} writer;

static inline writer writer_to(char *out, size_t capacity)
{
    writer w = {.capacity = capacity};
    w.out = out;
    return w;
}

static inline void writer_slice(writer *w, smx_slice s)
{
    if (w->full || s.len > w->capacity - w->len) {
        w->full = true;
        return;
    }
    w->len = (size_t)(slice_put(s, w->out + w->len) - w->out);
}

static inline void writer_char(writer *w, char c)
{
    writer_slice(w, slice_of(&c, 1));
}

static inline void writer_text(writer *w, const char *text)
{
    writer_slice(w, slice_of_text(text));
}

static inline void writer_number(writer *w, uint64_t number)
{
    char text[DIGITS_MAX];
    writer_slice(w, digits_of(number, text));
}

/* Ends the writing: 0 with the octets written, or SMX_E_RANGE. */
static inline int writer_end(const writer *w, size_t *written)
{
    if (w->full)
        return SMX_E_RANGE;
    *written = w->len;
    return 0;
}

#endif
