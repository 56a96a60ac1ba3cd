/* Another address in From, over many header sections made from a seed: each is built from pieces, so
 * that the test knows what must come out, octet for octet, without reading the header itself. */
#include "mail/rewrite_from.h"

#include "base/buffer.h"
#include "support/unit_test.h"

enum { ROUNDS = 20000, FIELDS = 12 };

#define NEW "me@provider.example"

typedef struct random_source {
    uint64_t state;
} random_source;

/* SplitMix64. */
static size_t below(random_source *r, size_t bound)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (size_t)((z ^ (z >> 31)) % bound);
}

#define PICK(r, table) ((table)[below((r), sizeof(table) / sizeof((table)[0]))])

static void add(buffer *out, const char *text)
{
    assert_int_equal(buffer_append_text(out, text), 0);
}

/* ---- fields that are none of From's business ---- */

static const char *const NAMES[] = {"Received",    "To",         "Subject",   "Sender",
                                    "Resent-From", "X-From",     "From-Name", "Fro",
                                    "In-Reply-To", "X-Reply-To", "Date",      "DKIM-Signature"};
static const char *const WORDS[] = {"a",
                                    "joe@old.example",
                                    "<joe@old.example>",
                                    "From: joe@old.example",
                                    "\"open",
                                    "(open",
                                    ",",
                                    ";",
                                    ":",
                                    "=?utf-8?q?=40?=",
                                    "J\xc3\xb6rg",
                                    "caf\xe9",
                                    "\t",
                                    "  ",
                                    "\r\n ",
                                    "\r\n\t",
                                    "\x01",
                                    "\xff\xfe",
                                    "\"",
                                    "\\"};
static const char *const LINES[] = {"no field", "From joe@old.example Mon Jan 1", ">From joe",
                                    "From", "\xff\xff"};

static void add_other(random_source *r, buffer *out, bool *has_reply_to)
{
    size_t words = below(r, 8);
    if (below(r, 12) == 0) {
        add(out, PICK(r, LINES));
        add(out, "\r\n");
        return;
    }
    bool is_reply_to = below(r, 30) == 0;
    *has_reply_to |= is_reply_to;
    add(out, is_reply_to ? "rEply-To" : PICK(r, NAMES));
    add(out, below(r, 8) == 0 ? " :" : ":");
    for (size_t i = 0; i < words; i++)
        add(out, PICK(r, WORDS));
    add(out, "x\r\n");
}

/* ---- one From field: what stands before the address, the address, what stands behind it ---- */

static const char *const FROM[] = {"From:", "FROM:", "from :", "fRoM:\r\n\t", "From: "};
static const char *const ADDRESSES[] = {"joe@old.example", "\"j o e\"@old.example",
                                        "j.o.e+tag@[192.0.2.1]", "j\xc3\xb6rg@ex\xc3\xa4mple.org",
                                        "joe@OLD.example"};
static const char *const AROUND[][2] = {
    {"", ""},
    {"<", ">"},
    {"Joe <", ">"},
    {"\"Doe, \\\"J\\\" <x@y>\" <", ">"},
    {"=?utf-8?q?J=C3=B6?=\r\n =?utf-8?b?cmc=?= <", ">"},
    {"J\xc3\xb6rg\r\n\tDoe <", "> (c, x@y)"},
    {"caf\xe9 <", ">"},
    {"(from <x@y>) ", " (Joe)"},
    {"joe@old.example <", ">\r\n "},
    {"A very long name\r\n that is folded\r\n\ttwice <", ">"},
};

static void add_from(random_source *r, buffer *header, buffer *expected, bool reply_to,
                     buffer *reply)
{
    const char *name = PICK(r, FROM);
    const char *const *around = PICK(r, AROUND);
    const char *address = PICK(r, ADDRESSES);
    add(header, name);
    add(header, around[0]);
    add(header, address);
    add(header, around[1]);
    add(header, "\r\n");
    add(expected, name);
    add(expected, around[0]);
    add(expected, NEW);
    add(expected, around[1]);
    add(expected, "\r\n");
    if (!reply_to)
        return;
    const char *value = strchr(name, ':') + 1;
    add(reply, "Reply-To:");
    if (value[0] == '\0' && around[0][0] != ' ')
        add(reply, " ");
    add(reply, value);
    add(reply, around[0]);
    add(reply, address);
    add(reply, around[1]);
    add(reply, "\r\n");
}

/* A section; what must come of it; with `reply_to`, where the old address goes. */
static void make(random_source *r, buffer *header, buffer *expected, bool reply_to)
{
    buffer before = {0};
    buffer after = {0};
    buffer from = {0};
    buffer changed = {0};
    buffer reply = {0};
    bool has_reply_to = false;
    for (size_t count = below(r, FIELDS); count > 0; count--)
        add_other(r, &before, &has_reply_to);
    for (size_t count = below(r, FIELDS); count > 0; count--)
        add_other(r, &after, &has_reply_to);
    add_from(r, &from, &changed, reply_to, &reply);
    const buffer *const whole[] = {&before, &from, &after};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(buffer_append(header, buffer_slice(whole[i])), 0);
    const buffer *const parts[] = {&before, &changed, &reply, &after};
    for (size_t i = 0; i < 4; i++)
        if (parts[i] != &reply || !has_reply_to)
            assert_int_equal(buffer_append(expected, buffer_slice(parts[i])), 0);
    buffer_free(&before);
    buffer_free(&after);
    buffer_free(&from);
    buffer_free(&changed);
    buffer_free(&reply);
}

static void each_section(bool reply_to)
{
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        random_source r = {seed};
        buffer header = {0};
        buffer expected = {0};
        buffer out = {0};
        make(&r, &header, &expected, reply_to);
        assert_int_equal(rewrite_from(buffer_slice(&header), SMX_SLICE(NEW), reply_to, &out), 0);
        smx_slice found = buffer_slice(&out);
        smx_slice wanted = buffer_slice(&expected);
        if (!slice_equal(found, wanted))
            fail_msg("seed %llu: \n%.*s\nbecame\n%.*s\ninstead of\n%.*s", (unsigned long long)seed,
                     (int)buffer_length(&header), buffer_slice(&header).data, (int)found.len,
                     found.data, (int)wanted.len, wanted.data);
        buffer_free(&header);
        buffer_free(&expected);
        buffer_free(&out);
    }
}

static void rewrite_property__every_octet_but_the_address_is_unchanged(void **state)
{
    (void)state;
    each_section(false);
}

static void rewrite_property__reply_to_keeps_the_field_as_it_came(void **state)
{
    (void)state;
    each_section(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewrite_property__every_octet_but_the_address_is_unchanged),
        cmocka_unit_test(rewrite_property__reply_to_keeps_the_field_as_it_came),
    };
    return cmocka_run_group_tests_name("rewrite_property", tests, NULL, NULL);
}
