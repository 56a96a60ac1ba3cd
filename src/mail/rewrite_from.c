/* Another address in the From field (DESIGN 4.11). Two passes over the section: the first finds what
 * there is, the second copies and changes. All output goes to the caller's buffer. */
#include "mail/rewrite_from.h"

#include "mail/field_mailbox.h"
#include "mail/header_write.h"

enum { PLAIN_ADDRESS_MAX = 512 }; /* a longer one is no address that could be replied to */

/* What the section says about its author. */
typedef struct author {
    smx_field from;      /* the first From field; raw empty if there is none */
    field_mailbox first; /* its first mailbox */
    bool has_first;
    bool is_sole;  /* one From field of one mailbox and nothing else: its address alone changes */
    bool is_clean; /* the first field's value could be read to its end */
    bool is_several;
    bool has_reply_to;
} author;

/* Reads the mailboxes of the first From field. */
static void author_read_value(author *a)
{
    size_t at = 0;
    field_mailbox other;
    smx_slice value = a->from.value;
    int result = field_mailbox_next(value, &at, &a->first);
    a->has_first = result == 1;
    if (!a->has_first)
        return;
    a->is_sole = !a->first.in_group && field_mailbox_is_last(value, at);
    for (result = field_mailbox_next(value, &at, &other); result == 1;
         result = field_mailbox_next(value, &at, &other))
        a->is_several = true;
    a->is_clean = result == 0;
}

static author author_read(smx_slice header)
{
    author a = {0};
    size_t at = 0;
    smx_field field;
    while (smx_field_next(header, &at, &field)) {
        if (slice_equal_nocase(field.name, SMX_SLICE("Reply-To")))
            a.has_reply_to = true;
        if (!slice_equal_nocase(field.name, SMX_SLICE("From")))
            continue;
        if (a.from.raw.len > 0) {
            a.is_several = true;
            continue;
        }
        a.from = field;
        author_read_value(&a);
    }
    return a;
}

/* The first From field, with the address changed where it stands, or made anew. */
static int rewrite_from_field(const author *a, smx_slice address, buffer *out)
{
    smx_slice raw = a->from.raw;
    int error;
    if (a->is_sole) {
        size_t from = (size_t)(a->first.inner.data - raw.data);
        error = buffer_append(out, slice_to(raw, from));
        if (error == 0)
            error = buffer_append(out, address);
        if (error == 0)
            error = buffer_append(out, slice_from(raw, from + a->first.inner.len));
        return error;
    }
    smx_slice display = a->has_first ? a->first.mailbox.display : slice_of("", 0);
    smx_slice name = raw.len > 0 ? a->from.name : SMX_SLICE("From");
    error = header_end_line(out);
    if (error == 0)
        error = buffer_append(out, name);
    if (error == 0)
        error = buffer_append_text(out, ": ");
    if (error == 0)
        error = buffer_append(out, display);
    if (error == 0)
        error = buffer_append_text(out, display.len > 0 ? " <" : "<");
    if (error == 0)
        error = buffer_append(out, address);
    return error == 0 ? buffer_append_text(out, ">\r\n") : error;
}

/* Whether a reply to the old author would go elsewhere than to the new address. */
static bool author_is_lost(const author *a, smx_slice address)
{
    char old[PLAIN_ADDRESS_MAX];
    size_t len;
    if (a->has_reply_to || !a->is_clean)
        return false;
    if (smx_field_plain_address(&a->first.mailbox, old, sizeof(old), &len) != 0)
        return false;
    return a->is_several || !slice_equal_nocase(slice_of(old, len), address);
}

/* Replies go on to those who were the authors (RFC 5322 section 3.6.2): their field as it came. */
static int rewrite_reply_to(const author *a, buffer *out)
{
    int error = header_end_line(out);
    return error == 0 ? header_write_field(out, SMX_SLICE("Reply-To"), a->from.value) : error;
}

static int rewrite_section(smx_slice header, const author *a, smx_slice address, bool reply_to,
                           buffer *out)
{
    size_t at = 0;
    smx_field field;
    int error = 0;
    while (error == 0 && smx_field_next(header, &at, &field)) {
        bool from = slice_equal_nocase(field.name, SMX_SLICE("From"));
        if (field.raw.data == a->from.raw.data) {
            error = rewrite_from_field(a, address, out);
            if (error == 0 && reply_to)
                error = rewrite_reply_to(a, out);
        } else if (!from &&
                   !(a->is_several && slice_equal_nocase(field.name, SMX_SLICE("Sender")))) {
            error = buffer_append(out, field.raw);
        }
    }
    if (error == 0 && a->from.raw.len == 0)
        error = rewrite_from_field(a, address, out);
    return error;
}

int rewrite_from(smx_slice header, smx_slice address, bool reply_to_add, buffer *out)
{
    smx_path path;
    int error = smx_mailbox_parse(address, SMX_PATH_UTF8, &path);
    if (error != 0)
        return SMX_E_INVALID;
    size_t before = buffer_length(out);
    author a = author_read(header);
    bool reply_to = reply_to_add && author_is_lost(&a, address);
    error = rewrite_section(header, &a, address, reply_to, out);
    if (error != 0)
        buffer_truncate(out, before);
    return error;
}
