/* The demo's books: what is lost, doubled or strange is told, and nothing else is called good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/demo_ledger.h"
#include "app/demo_message.h"

enum { ALPHA, BETA };

static const char RUN[] = "0011223344556677";

/* Three messages, all accepted, that provider `i % 2` has; but for `left_out` (0: none). */
static demo_ledger *filled(uint32_t left_out)
{
    demo_ledger *ledger = NULL;
    assert_int_equal(demo_ledger_new(3, &ledger), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        demo_ledger_accepted(ledger, i);
        if (i != left_out)
            demo_ledger_recorded(ledger, i % DEMO_PROVIDERS, i);
    }
    return ledger;
}

static void assert_verdict(demo_ledger *ledger, demo_verdict expected, bool good)
{
    demo_verdict found = demo_ledger_judge(ledger);
    assert_int_equal(found.sent, expected.sent);
    assert_int_equal(found.accepted, expected.accepted);
    assert_int_equal(found.delivered, expected.delivered);
    assert_int_equal(found.lost, expected.lost);
    assert_int_equal(found.doubled, expected.doubled);
    assert_int_equal(found.strange, expected.strange);
    assert_int_equal(demo_verdict_is_good(&found), good);
}

static void app_demo_ledger__each_once_is_good(void **state)
{
    (void)state;
    demo_ledger *ledger = filled(0);
    assert_verdict(ledger, (demo_verdict){3, 3, 3, 0, 0, 0}, true);
    assert_int_equal(demo_ledger_taken(ledger, ALPHA), 1);
    assert_int_equal(demo_ledger_taken(ledger, BETA), 2);
    assert_int_equal(demo_ledger_holder(ledger, 2), ALPHA);
    assert_int_equal(demo_ledger_holder(ledger, 3), BETA);
    assert_int_equal(demo_ledger_next_lost(ledger, 0), 0);
    assert_int_equal(demo_ledger_next_doubled(ledger, 0), 0);
    demo_ledger_free(ledger);
}

static void app_demo_ledger__accepted_and_nowhere_is_lost(void **state)
{
    (void)state;
    demo_ledger *ledger = filled(2);
    assert_verdict(ledger, (demo_verdict){3, 3, 2, 1, 0, 0}, false);
    assert_int_equal(demo_ledger_next_lost(ledger, 0), 2);
    assert_int_equal(demo_ledger_next_lost(ledger, 2), 0);
    assert_int_equal(demo_ledger_holder(ledger, 2), DEMO_PROVIDERS);
    demo_ledger_free(ledger);
}

static void app_demo_ledger__twice_with_one_or_once_with_each_is_doubled(void **state)
{
    (void)state;
    demo_ledger *ledger = filled(0);
    demo_ledger_recorded(ledger, BETA, 1);
    demo_ledger_recorded(ledger, ALPHA, 3);
    assert_verdict(ledger, (demo_verdict){3, 3, 3, 0, 2, 0}, false);
    assert_int_equal(demo_ledger_next_doubled(ledger, 0), 1);
    assert_int_equal(demo_ledger_next_doubled(ledger, 1), 3);
    assert_int_equal(demo_ledger_next_doubled(ledger, 3), 0);
    demo_ledger_free(ledger);
}

static void app_demo_ledger__one_lost_is_not_made_good_by_one_doubled(void **state)
{
    (void)state;
    demo_ledger *ledger = filled(2);
    demo_ledger_recorded(ledger, BETA, 1);
    assert_verdict(ledger, (demo_verdict){3, 3, 2, 1, 1, 0}, false);
    demo_ledger_free(ledger);
}

static void app_demo_ledger__a_message_that_nobody_sent_is_strange(void **state)
{
    static const uint32_t numbers[] = {0, 4, UINT32_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        demo_ledger *ledger = filled(0);
        demo_ledger_recorded(ledger, ALPHA, numbers[i]);
        assert_verdict(ledger, (demo_verdict){3, 3, 3, 0, 0, 1}, false);
        demo_ledger_free(ledger);
    }
}

static void app_demo_ledger__what_was_not_accepted_is_neither_lost_nor_good(void **state)
{
    (void)state;
    demo_ledger *ledger = NULL;
    assert_int_equal(demo_ledger_new(2, &ledger), 0);
    demo_ledger_accepted(ledger, 1);
    demo_ledger_recorded(ledger, ALPHA, 1);
    assert_verdict(ledger, (demo_verdict){2, 1, 1, 0, 0, 0}, false);
    demo_ledger_recorded(ledger, ALPHA, 2);
    assert_verdict(ledger, (demo_verdict){2, 1, 1, 0, 0, 0}, false);
    demo_ledger_free(ledger);
}

/* ---- the messages ---- */

static uint32_t number_of(const char *run, smx_slice text)
{
    smx_message *message = NULL;
    const smx_message_options options = {.version = SMX_MESSAGE_VERSION};
    assert_int_equal(smx_message_new(&options, &message), 0);
    assert_int_equal(smx_message_append(message, SMX_SLICE("Received: here\r\n")), 0);
    assert_int_equal(smx_message_append(message, text), 0);
    smx_message_end(message);
    uint32_t number = demo_message_read(run, message);
    smx_message_free(message);
    return number;
}

static void app_demo_message__it_is_known_again(void **state)
{
    static const uint32_t numbers[] = {1, 42, DEMO_MESSAGES_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        buffer text = {0};
        assert_int_equal(demo_message_write(RUN, numbers[i], "a@b.test", "c@d.test", &text), 0);
        assert_int_equal(number_of(RUN, buffer_slice(&text)), numbers[i]);
        assert_int_equal(number_of("7766554433221100", buffer_slice(&text)), 0);
        buffer_free(&text);
    }
}

/* The nth id in the text is spoilt. */
static void app_demo_message__the_id_must_stand_in_all_three_places(void **state)
{
    (void)state;
    buffer text = {0};
    char id[DEMO_ID];
    assert_int_equal(demo_message_write(RUN, 5, "a@b.test", "c@d.test", &text), 0);
    smx_slice needle = demo_message_id(RUN, 5, id);
    size_t places = 0;
    for (size_t at = 0;; places++) {
        smx_slice rest = slice_from(buffer_slice(&text), at);
        size_t found = slice_search(rest, needle);
        if (found == rest.len)
            break;
        char *digit = &text.data[text.start + at + found + needle.len - 1];
        *digit = '6';
        assert_int_equal(number_of(RUN, buffer_slice(&text)), 0);
        *digit = '5';
        at += found + needle.len;
    }
    assert_int_equal(places, 3);
    assert_int_equal(number_of(RUN, buffer_slice(&text)), 5);
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_demo_ledger__each_once_is_good),
        cmocka_unit_test(app_demo_ledger__accepted_and_nowhere_is_lost),
        cmocka_unit_test(app_demo_ledger__twice_with_one_or_once_with_each_is_doubled),
        cmocka_unit_test(app_demo_ledger__one_lost_is_not_made_good_by_one_doubled),
        cmocka_unit_test(app_demo_ledger__a_message_that_nobody_sent_is_strange),
        cmocka_unit_test(app_demo_ledger__what_was_not_accepted_is_neither_lost_nor_good),
        cmocka_unit_test(app_demo_message__it_is_known_again),
        cmocka_unit_test(app_demo_message__the_id_must_stand_in_all_three_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
