/* A message is made of its number: whoever holds the number can write it anew and compare. */
#include "soak.h"

enum {
    PLACE_MESSAGE = 1,
    PLACE_RECIPIENTS = 2,
    LINE_LONGEST = 120,
};

/* Sizes: so many of 100 messages have a body of up to so many octets. The last is more than the
 * daemon holds in memory. */
static const struct {
    uint64_t share;
    uint64_t octets;
} SIZES[] = {{70, 1500}, {24, 9000}, {5, 60000}, {1, 400000}};

uint32_t message_recipients(uint64_t seed, uint32_t number)
{
    chance c = chance_at(seed, PLACE_RECIPIENTS, number);
    uint64_t draw = chance_below(&c, 100);
    return draw < 80 ? 1 : draw < 93 ? 2 : SOAK_RECIPIENTS;
}

static uint64_t draw_size(chance *c)
{
    uint64_t draw = chance_below(c, 100);
    size_t i = 0;
    for (; draw >= SIZES[i].share; i++)
        draw -= SIZES[i].share;
    return chance_below(c, SIZES[i].octets);
}

/* Lines of all lengths; one in eight begins with a dot, some are a dot alone. */
static void write_body(chance *c, uint64_t size, buffer *out)
{
    static const char TEXT[] = "the quick brown fox jumps over the lazy dog. 0123456789 "
                               "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG? (){}[]<>@#$%^&*"
                               "pack my box with five dozen liquor jugs; sphinx of black quartz";
    for (uint64_t written = 0; written < size;) {
        uint64_t dots = chance_below(c, 8) == 0 ? 1 + chance_below(c, 2) : 0;
        uint64_t len = chance_below(c, LINE_LONGEST) * (chance_below(c, 10) != 0);
        must(buffer_append(out, slice_of("..", dots)) == 0 &&
                 buffer_append(out, slice_of(TEXT + chance_below(c, sizeof(TEXT) - LINE_LONGEST),
                                             len)) == 0 &&
                 buffer_append_text(out, "\r\n") == 0,
             "out of memory");
        written += dots + len + 2;
    }
}

void message_write(uint64_t seed, uint32_t number, buffer *out)
{
    chance c = chance_at(seed, PLACE_MESSAGE, number);
    must(buffer_printf(out,
                       "From: Soak <soak@example.com>\r\n"
                       "To: <r0.%u@example.net>\r\n"
                       "Date: Mon, 03 Nov 2025 10:00:00 +0000\r\n"
                       "Message-ID: <%u.%llu@soak.test>\r\n"
                       "Subject: message %u\r\n"
                       "\r\n",
                       number, number, (unsigned long long)seed, number) == 0,
         "out of memory");
    write_body(&c, draw_size(&c), out);
}

void message_write_recipient(uint32_t number, uint32_t recipient, buffer *out)
{
    must(buffer_printf(out, "r%u.%u@example.net", recipient, number) == 0, "out of memory");
}

bool message_read_recipient(smx_slice line, uint32_t *number, uint32_t *recipient)
{
    smx_slice rest = slice_from(line, slice_search(line, SMX_SLICE("<r")));
    uint64_t r, n;
    if (rest.len < 2)
        return false;
    rest = slice_from(rest, 2);
    size_t dot = slice_find(rest, '.');
    if (dot == rest.len || slice_to_number(slice_to(rest, dot), SOAK_RECIPIENTS - 1, &r) != 0)
        return false;
    rest = slice_from(rest, dot + 1);
    if (slice_to_number(slice_to(rest, slice_find(rest, '@')), UINT32_MAX, &n) != 0)
        return false;
    *number = (uint32_t)n;
    *recipient = (uint32_t)r;
    return true;
}

bool message_is(uint64_t seed, uint32_t number, smx_slice data)
{
    buffer expected = {0};
    message_write(seed, number, &expected);
    smx_slice whole = buffer_slice(&expected);
    bool same = data.len > whole.len && slice_starts_with(data, SMX_SLICE("Received: ")) &&
                slice_equal(slice_from(data, data.len - whole.len), whole) &&
                data.len - whole.len < 1000;
    buffer_free(&expected);
    return same;
}
