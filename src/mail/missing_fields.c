/* Date and Message-ID for messages without them. A field that is there stays, even if it is empty or
 * wrong: it is the author's. */
#include "mail/missing_fields.h"

#include "base/clock.h"
#include "smx/message.h"

static bool lacks(smx_slice header, smx_slice name)
{
    smx_field field;
    return !smx_field_find(header, name, 0, &field);
}

static int write_date(const missing_fields *wanted, buffer *out)
{
    char date[CLOCK_TEXT];
    smx_slice text = clock_rfc5322(wanted->wall_ms, date);
    return buffer_printf(out, "Date: %.*s\r\n", (int)text.len, text.data);
}

static int write_message_id(const missing_fields *wanted, buffer *out)
{
    return buffer_printf(out, "Message-ID: <%.*s@%.*s>\r\n", (int)wanted->id.len, wanted->id.data,
                         (int)wanted->host.len, wanted->host.data);
}

int missing_fields_write(const missing_fields *wanted, smx_slice header, buffer *out)
{
    size_t before = buffer_length(out);
    int error = 0;
    if (wanted->date && lacks(header, SMX_SLICE("Date")))
        error = write_date(wanted, out);
    if (error == 0 && wanted->message_id && lacks(header, SMX_SLICE("Message-ID")))
        error = write_message_id(wanted, out);
    if (error != 0)
        buffer_truncate(out, before);
    return error;
}
