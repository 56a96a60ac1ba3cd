/* A growable run of octets. The buffer owns its memory and doubles it when it is full. */
#include "base/buffer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/digits.h"

enum { BUFFER_SMALLEST = 256 };

void buffer_free(buffer *b)
{
    if (b == NULL)
        return;
    free(b->data);
    *b = (buffer){0};
}

/* Moves the unread octets to the front, so that the space before them serves again. */
static void buffer_compact(buffer *b)
{
    if (b->start == 0)
        return;
    memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
}

int buffer_reserve(buffer *b, size_t more)
{
    size_t needed;
    if (b->capacity - b->end >= more)
        return 0;
    if (!checked_add(buffer_length(b), more, &needed))
        return SMX_E_NOMEM;
    if (needed <= b->capacity && b->start >= b->capacity / 2) {
        buffer_compact(b);
        return 0;
    }
    size_t capacity = b->capacity == 0 ? BUFFER_SMALLEST : b->capacity;
    while (capacity < needed || capacity == b->capacity)
        if (!checked_multiply(capacity, 2, &capacity))
            return SMX_E_NOMEM;
    char *data = malloc(capacity);
    if (data == NULL)
        return SMX_E_NOMEM;
    size_t len = buffer_length(b);
    if (len > 0)
        memcpy(data, b->data + b->start, len);
    free(b->data);
    *b = (buffer){.data = data, .end = len, .capacity = capacity};
    return 0;
}

int buffer_append_number(buffer *b, uint64_t number)
{
    char text[DIGITS_MAX];
    return buffer_append(b, digits_of(number, text));
}

int buffer_printf(buffer *b, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return SMX_E_INVALID;
    int error = buffer_reserve(b, (size_t)length + 1);
    if (error != 0)
        return error;
    va_start(arguments, format);
    (void)vsnprintf(b->data + b->end, (size_t)length + 1, format, arguments);
    va_end(arguments);
    b->end += (size_t)length;
    return 0;
}

void buffer_consume(buffer *b, size_t count)
{
    assert(count <= buffer_length(b));
    b->start += count;
    if (b->start == b->end)
        buffer_clear(b);
}

void buffer_clear(buffer *b)
{
    b->start = 0;
    b->end = 0;
}

void buffer_truncate(buffer *b, size_t len)
{
    assert(len <= buffer_length(b));
    b->end = b->start + len;
}
