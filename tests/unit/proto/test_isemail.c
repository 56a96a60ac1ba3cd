/* The addresses of the isemail test set, a test each: those that it calls right by RFC 5321 are
 * read, all others refused, which takes in what is right in a header but not on the envelope
 * (comments, folding, obsolete forms). Skipped where the vectors are absent.
 *
 * Where we differ, and why:
 *   66  an untagged IPv6 literal: by the grammar a general literal with the tag "1111"; isemail
 *       refuses every tag that IANA did not register, we leave that to the router.
 *   71  "::" for a single group: RFC 5321 wants at least two, RFC 5952 section 4.2.2 wants readers
 *       to take one. */
#include "test_proto.h"

#include <stdio.h>

enum { ISEMAIL_MAX = 256 };

typedef struct isemail_case {
    char name[160];
    buffer address;
    bool right;
} isemail_case;

static isemail_case isemail_cases[ISEMAIL_MAX];

/* The text between `open` and `close` in `in`; empty if there is none. */
static smx_slice isemail_element(smx_slice in, const char *open, const char *close)
{
    size_t start = slice_search(in, slice_of_text(open));
    if (start == in.len)
        return SMX_SLICE("");
    smx_slice rest = slice_from(in, start + strlen(open));
    return slice_to(rest, slice_search(rest, slice_of_text(close)));
}

static void isemail_must(int error)
{
    if (error != 0)
        abort();
}

static void isemail_append_character(buffer *out, unsigned long number)
{
    if (number >= 0x2400 && number <= 0x241f)
        number -= 0x2400;
    if (number == 0x2421)
        number = 0x7f;
    if (number < 0x80) {
        isemail_must(buffer_append_char(out, (char)number));
    } else if (number < 0x800) {
        isemail_must(buffer_append_char(out, (char)(0xc0 | number >> 6)));
        isemail_must(buffer_append_char(out, (char)(0x80 | (number & 0x3f))));
    } else {
        abort();
    }
}

static const struct {
    const char *name;
    char c;
} isemail_entities[] = {{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}};

/* One entity behind its '&'; the octets that it takes. */
static size_t isemail_entity(smx_slice text, buffer *out)
{
    if (slice_starts_with(text, SMX_SLICE("#x"))) {
        char *end;
        isemail_append_character(out, strtoul(text.data + 2, &end, 16));
        return (size_t)(end - text.data) + 1;
    }
    for (size_t i = 0; i < TEST_COUNT(isemail_entities); i++) {
        if (!slice_starts_with(text, slice_of_text(isemail_entities[i].name)))
            continue;
        isemail_must(buffer_append_char(out, isemail_entities[i].c));
        return strlen(isemail_entities[i].name);
    }
    abort();
}

static void isemail_decode(smx_slice text, buffer *out)
{
    while (text.len > 0) {
        unsigned char c = (unsigned char)text.data[0];
        size_t len = 1;
        if (c == '&')
            len += isemail_entity(slice_from(text, 1), out);
        else if (c == 0xe2 && text.len > 2 && (unsigned char)text.data[1] == 0x90) {
            isemail_append_character(out, 0x2400UL + (unsigned char)text.data[2] - 0x80);
            len = 3;
        } else {
            isemail_must(buffer_append_char(out, (char)c));
        }
        text = slice_from(text, len);
    }
}

static bool isemail_is_right(unsigned long id, smx_slice category)
{
    if (id == 66 || id == 71)
        return true;
    return slice_equal(category, SMX_SLICE("ISEMAIL_VALID_CATEGORY")) ||
           slice_equal(category, SMX_SLICE("ISEMAIL_DNSWARN")) ||
           slice_equal(category, SMX_SLICE("ISEMAIL_RFC5321"));
}

static size_t isemail_read(smx_slice file)
{
    static const char mark[] = "<test id=\"";
    size_t count = 0;
    for (;;) {
        size_t start = slice_search(file, SMX_SLICE(mark));
        if (start == file.len || count == ISEMAIL_MAX)
            return count;
        file = slice_from(file, start + sizeof(mark) - 1);
        smx_slice one = slice_to(file, slice_search(file, SMX_SLICE("</test>")));
        smx_slice category = isemail_element(one, "<category>", "</category>");
        smx_slice diagnosis = isemail_element(one, "<diagnosis>", "</diagnosis>");
        unsigned long id = strtoul(one.data, NULL, 10);
        isemail_case *c = &isemail_cases[count++];
        isemail_decode(isemail_element(one, "<address>", "</address>"), &c->address);
        c->right = isemail_is_right(id, category);
        (void)snprintf(c->name, sizeof(c->name), "proto_mailbox__isemail_%lu_%.*s_is_%s", id,
                       (int)diagnosis.len, diagnosis.data, c->right ? "read" : "refused");
    }
}

static void isemail_check(void **state)
{
    const isemail_case *c = *state;
    smx_slice address = buffer_slice(&c->address);
    smx_path path;
    assert_int_equal(smx_mailbox_parse(address, 0, &path) == 0, c->right);
    assert_int_equal(smx_mailbox_parse(address, SMX_PATH_UTF8, &path) == 0, c->right);
}

static bool isemail_load(buffer *file)
{
    char path[4096];
    const char *vectors = getenv("SMX_VECTORS");
    const char *root = getenv("SMX_SOURCE_ROOT");
    if (vectors != NULL)
        (void)snprintf(path, sizeof(path), "%s/address/isemail-tests.xml", vectors);
    else
        (void)snprintf(path, sizeof(path), "%s/../shared/vectors/address/isemail-tests.xml",
                       root == NULL ? "." : root);
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return false;
    isemail_must(buffer_reserve(file, 1U << 20));
    file->end = fread(file->data, 1, 1U << 20, in);
    (void)fclose(in);
    return true;
}

int main(void)
{
    struct CMUnitTest tests[ISEMAIL_MAX] = {{0}};
    buffer file = {0};
    if (!isemail_load(&file)) {
        printf("1..0 # SKIP the vectors are absent (SMX_VECTORS)\n");
        return 0;
    }
    size_t count = isemail_read(buffer_slice(&file));
    for (size_t i = 0; i < count; i++)
        tests[i] = (struct CMUnitTest){isemail_cases[i].name, isemail_check, NULL, NULL,
                                       &isemail_cases[i]};
    int failed = count == 0 ? 1 : _cmocka_run_group_tests("isemail", tests, count, NULL, NULL);
    for (size_t i = 0; i < ISEMAIL_MAX; i++)
        buffer_free(&isemail_cases[i].address);
    buffer_free(&file);
    return failed;
}
