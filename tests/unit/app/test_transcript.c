/* Lines of transcripts and of the audit file, and those who follow. */
#include "test_app.h"

#include <jansson.h>
#include <unistd.h>

#include "app/audit.h"
#include "app/followers.h"
#include "app/transcript.h"

static smx_session_view session_of(const char *client)
{
    smx_session_view s = {.id = 7, .listener = SMX_SLICE("127.0.0.1:25")};
    assert_int_equal(smx_address_parse(slice_of_text(client), &s.client), 0);
    return s;
}

static const char *text_of(smx_proxy_way way, bool in_tls, bool own, const char *octets, size_t len)
{
    static char found[8192];
    const smx_session_view s = session_of("10.0.0.1");
    const smx_proxy_line line = {&s, 1000, way, in_tls, own, {octets, len}};
    buffer out = {0};
    assert_int_equal(transcript_text(&line, false, &out), 0);
    (void)snprintf(found, sizeof(found), "%.*s", (int)buffer_length(&out), buffer_slice(&out).data);
    buffer_free(&out);
    return found;
}

/* ---- text ---- */

static void app_transcript__marks_are_those_of_swaks(void **state)
{
    (void)state;
    assert_string_equal(text_of(SMX_PROXY_TO_UPSTREAM, false, false, "QUIT", 4), " -> QUIT\n");
    assert_string_equal(text_of(SMX_PROXY_TO_UPSTREAM, true, false, "QUIT", 4), " ~> QUIT\n");
    assert_string_equal(text_of(SMX_PROXY_TO_CLIENT, false, false, "221 x", 5), "<-  221 x\n");
    assert_string_equal(text_of(SMX_PROXY_TO_CLIENT, true, false, "221 x", 5), "<~  221 x\n");
    assert_string_equal(text_of(SMX_PROXY_TO_CLIENT, false, true, "421 x", 5), "<-* 421 x\n");
    assert_string_equal(text_of(SMX_PROXY_TO_UPSTREAM, true, true, "EHLO", 4), "*~> EHLO\n");
    assert_string_equal(text_of(SMX_PROXY_NOTE, true, true, "closed", 6), "=== closed\n");
}

/* ATTACKS 38 */
static void app_transcript__nothing_reaches_the_terminal(void **state)
{
    (void)state;
    assert_string_equal(text_of(SMX_PROXY_TO_CLIENT, false, false, "a\x1b[2J\r\n\0b", 9),
                        "<-  a\\x1b[2J\\x0d\\x0a\\x00b\n");
    assert_string_equal(text_of(SMX_PROXY_TO_CLIENT, false, false, "\xc3\xa4\xff\xc2\x9b", 5),
                        "<-  \xc3\xa4\\xff\\xc2\\x9b\n");
}

static void app_transcript__a_long_line_is_cut(void **state)
{
    (void)state;
    char octets[TRANSCRIPT_TEXT_MAX + 5];
    memset(octets, 'x', sizeof(octets));
    const char *text = text_of(SMX_PROXY_TO_CLIENT, false, false, octets, sizeof(octets));
    assert_non_null(strstr(text, "x [and 5 octets]\n"));
    assert_int_equal(strlen(text), 4 + TRANSCRIPT_TEXT_MAX + strlen(" [and 5 octets]\n"));
}

static void app_transcript__json_comes_back_as_the_same_text(void **state)
{
    (void)state;
    const smx_session_view s = session_of("2001:db8::1");
    for (int i = 0; i < 12; i++) {
        const smx_proxy_line line = {&s,         1000,       (smx_proxy_way)(i % 3),
                                     i % 2 == 0, i / 6 == 0, SMX_SLICE("a \"b\" \x1b")};
        buffer text = {0};
        buffer json = {0};
        buffer again = {0};
        assert_int_equal(transcript_text(&line, true, &text), 0);
        assert_int_equal(transcript_json(&line, &json), 0);
        smx_slice octets = buffer_slice(&json);
        assert_int_equal(octets.data[octets.len - 1], '\n');
        json_t *value = json_loadb(octets.data, octets.len - 1, JSON_REJECT_DUPLICATES, NULL);
        assert_string_equal(json_string_value(json_object_get(value, "client")), "2001:db8::1");
        assert_int_equal(transcript_text_of_json(value, &again), 0);
        assert_true(slice_equal(buffer_slice(&text), buffer_slice(&again)));
        json_decref(value);
        buffer_free(&text);
        buffer_free(&json);
        buffer_free(&again);
    }
}

static void app_transcript__other_json_is_refused(void **state)
{
    (void)state;
    static const char *const OTHERS[] = {"{}", "{\"way\": \"-\", \"text\": \"x\"}",
                                         "{\"way\": \"->\", \"text\": 1}", "[]"};
    for (size_t i = 0; i < sizeof(OTHERS) / sizeof(OTHERS[0]); i++) {
        buffer out = {0};
        json_t *value = json_loads(OTHERS[i], 0, NULL);
        assert_int_equal(transcript_text_of_json(value, &out), SMX_E_SYNTAX);
        json_decref(value);
        buffer_free(&out);
    }
}

/* ---- audit ---- */

static void app_audit__any_octets_make_one_line_of_json(void **state)
{
    (void)state;
    static const log_options PLAIN = {LOG_LOGFMT, SMX_LOG_INFO, false};
    const smx_session_view s = session_of("10.0.0.1");
    const smx_proxy_recipient to[] = {{SMX_SLICE("\xff\n@x"), 250}, {SMX_SLICE("b@x"), 0}};
    const smx_proxy_record record = {
        .session = &s,
        .from = SMX_SLICE("\"a\r\n\"@x"),
        .has_from = true,
        .recipients = to,
        .recipient_count = 2,
        .size = UINT64_C(5000000000),
        .reply = {550, {5, 7, 1}, 2, SMX_SLICE("550-5.7.1 no,\r\n550 5.7.1 never\r\n")},
        .upstream_tls = true,
        .upstream_tls_protocol = SMX_SLICE("TLSv1.3"),
    };
    log_sink *log = NULL;
    buffer out = {0};
    assert_int_equal(log_new(STDERR_FILENO, &PLAIN, &log), 0);
    assert_int_equal(audit_line(&record, log, &out), 0);
    smx_slice line = buffer_slice(&out);
    assert_int_equal(slice_find(line, '\n'), line.len - 1);
    json_t *value = json_loadb(line.data, line.len - 1, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(value);
    const json_t *first = json_array_get(json_object_get(value, "to"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "address")), "\\xff\\x0a@x");
    assert_string_equal(json_string_value(json_object_get(value, "from")), "\"a\r\n\"@x");
    assert_int_equal(json_integer_value(json_object_get(value, "size")), 5000000000);
    const json_t *reply = json_object_get(value, "reply");
    assert_string_equal(json_string_value(json_object_get(reply, "text")), "5.7.1 no, 5.7.1 never");
    assert_string_equal(json_string_value(json_object_get(reply, "enhanced")), "5.7.1");
    assert_true(json_is_null(json_object_get(value, "client_tls")));
    assert_true(json_is_false(json_object_get(json_object_get(value, "upstream_tls"), "verified")));
    json_decref(value);
    buffer_free(&out);
    log_free(log);
}

/* ---- followers ---- */

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static follower *follow(followers *all, const char *client, const char *from, int *woken)
{
    problem p;
    follower *f = NULL;
    const follower_options options = {client, from, NULL, count_call, woken};
    assert_int_equal(followers_add(all, &options, &f, &p), 0);
    return f;
}

static size_t read_all(follower *f, char *text, size_t capacity)
{
    size_t len = 0;
    for (size_t count; (count = follower_read(f, text + len, capacity - len)) > 0;)
        len += count;
    return len;
}

static void app_followers__each_hears_what_it_asked_for(void **state)
{
    (void)state;
    static char text[65536];
    int woken[3] = {0};
    followers *all = NULL;
    assert_int_equal(followers_new(&all), 0);
    assert_false(followers_any(all));
    follower *any = follow(all, NULL, NULL, &woken[0]);
    follower *near = follow(all, "10.0.0.0/8", NULL, &woken[1]);
    follower *from = follow(all, NULL, "*@x.y", &woken[2]);
    assert_true(followers_any(all) && followers_want_senders(all));
    const smx_session_view here = session_of("10.0.0.1");
    const smx_session_view there = session_of("192.0.2.1");
    const smx_proxy_line one = {&here, 1, SMX_PROXY_NOTE, false, false, SMX_SLICE("one")};
    const smx_proxy_line two = {&there, 1, SMX_PROXY_NOTE, false, false, SMX_SLICE("two")};
    followers_tell(all, &one, (smx_slice){NULL, 0});
    followers_tell(all, &two, SMX_SLICE("a@x.y"));
    followers_tell_late(all, &one, (smx_slice){NULL, 0}, SMX_SLICE("a@x.y"));
    assert_int_equal(woken[0], 1);
    text[read_all(any, text, sizeof(text) - 1)] = '\0';
    assert_non_null(strstr(text, "\"one\""));
    assert_non_null(strstr(text, "\"two\""));
    text[read_all(near, text, sizeof(text) - 1)] = '\0';
    assert_non_null(strstr(text, "\"one\""));
    assert_null(strstr(text, "\"two\""));
    text[read_all(from, text, sizeof(text) - 1)] = '\0';
    assert_true(strstr(text, "\"two\"") < strstr(text, "\"one\""));
    follower_free(any);
    follower_free(near);
    follower_free(from);
    assert_false(followers_any(all) || followers_want_senders(all));
    followers_free(all);
}

static void app_followers__what_is_lost_is_counted_where_it_was(void **state)
{
    (void)state;
    static char text[FOLLOWER_OCTETS + 1];
    int woken = 0;
    size_t told = 0;
    followers *all = NULL;
    assert_int_equal(followers_new(&all), 0);
    follower *f = follow(all, NULL, NULL, &woken);
    const smx_session_view s = session_of("10.0.0.1");
    const smx_proxy_line line = {&s, 1, SMX_PROXY_NOTE, false, false, SMX_SLICE("a line")};
    for (int i = 0; i < 5000; i++)
        followers_tell(all, &line, (smx_slice){NULL, 0});
    size_t len = follower_read(f, text, FOLLOWER_OCTETS);
    text[len] = '\0';
    assert_null(strstr(text, "lost"));
    for (size_t i = 0; i < len; i++)
        told += text[i] == '\n' ? 1 : 0;
    len = follower_read(f, text, FOLLOWER_OCTETS);
    text[len] = '\0';
    char expected[64];
    (void)snprintf(expected, sizeof(expected), "{\"lost\":%zu}\n", 5000 - told);
    assert_string_equal(text, expected);
    assert_int_equal(woken, 1);
    follower_free(f);
    followers_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_transcript__marks_are_those_of_swaks),
        cmocka_unit_test(app_transcript__nothing_reaches_the_terminal),
        cmocka_unit_test(app_transcript__a_long_line_is_cut),
        cmocka_unit_test(app_transcript__json_comes_back_as_the_same_text),
        cmocka_unit_test(app_transcript__other_json_is_refused),
        cmocka_unit_test(app_audit__any_octets_make_one_line_of_json),
        cmocka_unit_test(app_followers__each_hears_what_it_asked_for),
        cmocka_unit_test(app_followers__what_is_lost_is_counted_where_it_was),
    };
    return cmocka_run_group_tests_name("app_transcript", tests, NULL, NULL);
}
