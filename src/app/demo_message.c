/* Writes and recognizes the demo's messages. */
#include "app/demo_message.h"

#include <stdio.h>

#include "base/clock.h"

enum { MESSAGE_BODY_MAX = 4096 };

smx_slice demo_message_id(const char *run, uint32_t number, char text[static DEMO_ID])
{
    int len = snprintf(text, DEMO_ID, "%s-%05u", run, number);
    return slice_of(text, len < 0 ? 0 : (size_t)len);
}

int demo_message_write(const char *run, uint32_t number, const char *from, const char *to,
                       buffer *out)
{
    char date[CLOCK_TEXT];
    char text[DEMO_ID];
    smx_slice when = clock_rfc5322(clock_wall_ms(), date);
    smx_slice id = demo_message_id(run, number, text);
    return buffer_printf(out,
                         "Date: %.*s\r\n"
                         "From: Your application <%s>\r\n"
                         "To: <%s>\r\n"
                         "Subject: Hello from the demo (%.*s)\r\n"
                         "Message-ID: <%.*s@demo.smtpmux.test>\r\n"
                         "\r\n"
                         "This is message %.*s.\r\n",
                         (int)when.len, when.data, from, to, (int)id.len, id.data, (int)id.len,
                         id.data, (int)id.len, id.data);
}

/* The number in "<RUN-00007@...>", or 0. */
static uint32_t number_in(const char *run, smx_slice value)
{
    char text[DEMO_ID];
    uint64_t number = 0;
    int len = snprintf(text, sizeof(text), "<%s-", run);
    smx_slice start = slice_of(text, len < 0 ? 0 : (size_t)len);
    if (!slice_starts_with(value, start))
        return 0;
    smx_slice rest = slice_from(value, start.len);
    if (slice_to_number(slice_to(rest, slice_find(rest, '@')), UINT32_MAX, &number) != 0)
        return 0;
    return (uint32_t)number;
}

static bool has(smx_slice text, smx_slice needle)
{
    return slice_search(text, needle) < text.len;
}

uint32_t demo_message_read(const char *run, const smx_message *message)
{
    char scratch[MESSAGE_BODY_MAX];
    char text[DEMO_ID];
    smx_slice header, body;
    smx_field id, subject;
    if (smx_message_header(message, &header) != 0 ||
        !smx_field_find(header, SMX_SLICE("Message-ID"), 0, &id) ||
        !smx_field_find(header, SMX_SLICE("Subject"), 0, &subject) ||
        smx_message_read(message, smx_message_body_offset(message), scratch, sizeof(scratch),
                         &body) != 0)
        return 0;
    uint32_t number = number_in(run, slice_trim(id.value));
    smx_slice expected = demo_message_id(run, number, text);
    return has(subject.value, expected) && has(body, expected) ? number : 0;
}
