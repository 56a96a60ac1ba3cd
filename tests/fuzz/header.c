/* A header section: the first two octets choose, the rest is the section. Its fields cover it, its
 * mailboxes are read to an end, an edit adds just its field, and rewriting From leaves exactly the
 * new address there and every other field as it was. */
#include "base/buffer.h"
#include "fuzz.h"
#include "mail/rewrite_from.h"

static void check(int error)
{
    FUZZ_CHECK(error == 0);
}

/* A plain address is read again as itself. */
static void header_check_plain(smx_slice plain)
{
    size_t at = 0;
    size_t len = 0;
    smx_field_mailbox m;
    FUZZ_CHECK(smx_utf8_is_valid(plain));
    FUZZ_CHECK(smx_field_next_mailbox(plain, &at, &m) == 1);
    FUZZ_CHECK(slice_equal(m.address, plain));
    char *again = malloc(plain.len + 1);
    FUZZ_CHECK(again != NULL);
    check(smx_field_plain_address(&m, again, plain.len, &len));
    FUZZ_CHECK(slice_equal(slice_of(again, len), plain));
    FUZZ_CHECK(smx_field_next_mailbox(plain, &at, &m) == 0);
    free(again);
}

static void header_check_mailboxes(smx_slice value)
{
    size_t at = 0;
    size_t before = 0;
    smx_field_mailbox m;
    int result;
    while ((result = smx_field_next_mailbox(value, &at, &m)) == 1) {
        size_t len = 0;
        FUZZ_CHECK(at > before && at <= value.len);
        FUZZ_CHECK(m.raw.len > 0 && fuzz_is_within(m.raw, value));
        FUZZ_CHECK(fuzz_is_within(m.display, m.raw) && fuzz_is_within(m.address, m.raw));
        FUZZ_CHECK(m.angle || m.display.len == 0);
        char *plain = malloc(m.address.len + 1);
        FUZZ_CHECK(plain != NULL);
        int error = smx_field_plain_address(&m, plain, m.address.len, &len);
        FUZZ_CHECK(error == 0 || error == SMX_E_SYNTAX);
        if (error == 0)
            header_check_plain(slice_of(plain, len));
        free(plain);
        before = at;
    }
    FUZZ_CHECK(result == 0 || result == SMX_E_SYNTAX);
}

static void header_check_unfold(smx_slice value)
{
    size_t len = 0;
    char *out = malloc(value.len + 1);
    FUZZ_CHECK(out != NULL);
    check(smx_field_unfold(value, out, value.len, &len));
    FUZZ_CHECK(len == 0 || (!ascii_is_space(out[0]) && !ascii_is_space(out[len - 1])));
    free(out);
}

static void header_check_fields(smx_slice header)
{
    size_t at = 0;
    size_t covered = 0;
    smx_field field;
    while (smx_field_next(header, &at, &field)) {
        FUZZ_CHECK(field.raw.data == header.data + covered && field.raw.len > 0);
        FUZZ_CHECK(fuzz_is_within(field.name, field.raw) && fuzz_is_within(field.value, field.raw));
        FUZZ_CHECK(slice_find(field.name, ':') == field.name.len && !fuzz_has_control(field.name));
        covered += field.raw.len;
        FUZZ_CHECK(at == covered);
        header_check_unfold(field.value);
        header_check_mailboxes(field.value);
    }
    FUZZ_CHECK(covered == header.len);
}

/* The octets of the fields that bear this name, or of all that bear none of From and Sender. */
static void header_collect(smx_slice header, const char *name, buffer *out)
{
    size_t at = 0;
    smx_field field;
    while (smx_field_next(header, &at, &field)) {
        bool wanted = slice_equal_nocase(field.name, slice_of_text(name));
        bool other = name[0] == '\0' && !slice_equal_nocase(field.name, SMX_SLICE("From")) &&
                     !slice_equal_nocase(field.name, SMX_SLICE("Sender")) &&
                     !slice_equal_nocase(field.name, SMX_SLICE("Reply-To"));
        if ((name[0] != '\0' && wanted) || other)
            check(buffer_append(out, field.raw));
    }
}

/* The same octets, but for the line end that an addition behind them may have needed. */
static bool header_is_kept(smx_slice before, smx_slice after)
{
    return slice_starts_with(after, before) &&
           (after.len == before.len ||
            slice_equal(slice_from(after, before.len), SMX_SLICE("\r\n")));
}

static void header_check_others(smx_slice header, smx_slice rewritten, bool reply_to)
{
    static const char *const names[] = {"", "Reply-To", "Sender"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        buffer before = {0};
        buffer after = {0};
        header_collect(header, names[i], &before);
        header_collect(rewritten, names[i], &after);
        bool kept = header_is_kept(buffer_slice(&before), buffer_slice(&after));
        bool added = i == 1 && reply_to && buffer_length(&before) == 0 &&
                     smx_field_count(rewritten, SMX_SLICE("Reply-To")) == 1;
        bool gone = i == 2 && buffer_length(&after) == 0;
        FUZZ_CHECK(kept || added || gone);
        buffer_free(&before);
        buffer_free(&after);
    }
}

static void header_check_rewrite(smx_slice header, smx_slice address, bool reply_to)
{
    buffer out = {0};
    buffer again = {0};
    smx_field field;
    smx_field_mailbox m;
    char plain[64];
    size_t at = 0;
    size_t len = 0;
    check(rewrite_from(header, address, reply_to, &out));
    smx_slice rewritten = buffer_slice(&out);
    header_check_others(header, rewritten, reply_to);
    FUZZ_CHECK(smx_field_count(rewritten, SMX_SLICE("From")) == 1);
    FUZZ_CHECK(smx_field_find(rewritten, SMX_SLICE("From"), 0, &field));
    FUZZ_CHECK(smx_field_next_mailbox(field.value, &at, &m) == 1);
    check(smx_field_plain_address(&m, plain, sizeof(plain), &len));
    FUZZ_CHECK(slice_equal(slice_of(plain, len), address));
    FUZZ_CHECK(smx_field_next_mailbox(field.value, &at, &m) == 0);
    /* Once more changes nothing. */
    check(rewrite_from(rewritten, address, false, &again));
    FUZZ_CHECK(slice_equal(buffer_slice(&again), rewritten));
    buffer_free(&out);
    buffer_free(&again);
}

/* What is accepted as a field is one field, and the others stay. */
static void header_check_edit(smx_slice header, smx_slice name, smx_slice value)
{
    smx_header_edit *edit = NULL;
    smx_slice result;
    smx_field field;
    size_t at = 0;
    check(smx_header_edit_new(header, &edit));
    int error = smx_header_edit_prepend(edit, name, value);
    FUZZ_CHECK(error == 0 || error == SMX_E_INVALID);
    check(smx_header_edit_result(edit, &result));
    if (error == 0 && (header.len == 0 || !ascii_is_space(header.data[0]))) {
        FUZZ_CHECK(smx_field_next(result, &at, &field));
        FUZZ_CHECK(slice_equal(field.name, name));
        FUZZ_CHECK(slice_equal(slice_trim(field.value), slice_trim(value)));
        FUZZ_CHECK(slice_equal(slice_from(result, at), header));
        check(smx_header_edit_delete(edit, name, 0));
        check(smx_header_edit_result(edit, &result));
    }
    FUZZ_CHECK(error == 0 || slice_equal(result, header));
    smx_header_edit_free(edit);
}

/* The end of the section is found at the same place in whatever pieces it comes. */
static void header_check_message(smx_slice text)
{
    size_t expected = slice_search(text, SMX_SLICE("\r\n\r\n"));
    expected = expected == text.len ? text.len : expected + 2;
    expected = slice_starts_with(text, SMX_SLICE("\r\n")) ? 0 : expected;
    for (enum fuzz_cut way = 0; way < FUZZ_CUTS; way++) {
        fuzz_cutter cutter = fuzz_cutter_of(way, text);
        smx_message *message = NULL;
        smx_slice header;
        check(smx_message_new(NULL, &message));
        for (size_t at = 0, len = 0; at < text.len; at += len) {
            len = fuzz_next(&cutter, text.len - at);
            check(smx_message_append(message, slice_of(text.data + at, len)));
        }
        smx_message_end(message);
        check(smx_message_header(message, &header));
        FUZZ_CHECK(slice_equal(header, slice_to(text, expected)));
        FUZZ_CHECK(smx_message_body_offset(message) == expected);
        smx_message_free(message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const addresses[] = {"me@example.com", "\"m e\\\"@\"@x", "m\xc3\xa9@x.y",
                                            "me@[IPv6:2001:db8::1]"};
    if (size < 2 || size > 65536)
        return 0;
    char *copy = fuzz_copy((const char *)data + 2, size - 2);
    smx_slice header = slice_of(copy, size - 2);
    header_check_fields(header);
    header_check_rewrite(header, slice_of_text(addresses[data[0] % 4]), (data[0] & 4) != 0);
    header_check_message(header);
    size_t name = data[1] % (header.len + 1);
    header_check_edit(header, slice_to(header, name), slice_from(header, name));
    header_check_edit(header, SMX_SLICE("X-Test"), slice_to(header, name));
    free(copy);
    return 0;
}
