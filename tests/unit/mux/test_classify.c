/* DESIGN 4.3 as a table: an attempt's result, and what it means for the message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mux/mux_internal.h"

typedef struct row {
    const char *claim;
    smx_outcome outcome;
    smx_client_phase phase;
    unsigned code;
    smx_enhanced enhanced;
    mux_action action;
    bool permanent;
    bool suspend;
} row;

#define PHASE(name) SMX_CLIENT_PHASE_##name

static const row rows[] = {
    {"accepted is taken",
     SMX_OUTCOME_ACCEPTED,
     PHASE(FINAL),
     250,
     {2, 0, 0},
     MUX_ACTION_TAKEN,
     0,
     0},
    {"unknown stays unknown", SMX_OUTCOME_UNKNOWN, PHASE(FINAL), 0, {0}, MUX_ACTION_UNKNOWN, 0, 0},
    {"given up", SMX_OUTCOME_GIVEN_UP, PHASE(DATA), 0, {0}, MUX_ACTION_GIVEN_UP, 0, 0},
    {"connect: next", SMX_OUTCOME_FAILED, PHASE(CONNECT), 0, {0}, MUX_ACTION_NEXT, 0, 0},
    {"banner 554: next", SMX_OUTCOME_FAILED, PHASE(BANNER), 554, {5, 7, 1}, MUX_ACTION_NEXT, 0, 0},
    {"ehlo lost: next", SMX_OUTCOME_FAILED, PHASE(EHLO), 0, {0}, MUX_ACTION_NEXT, 0, 0},
    {"certificate: next", SMX_OUTCOME_FAILED, PHASE(TLS), 0, {0}, MUX_ACTION_NEXT, 0, 0},
    {"starttls 5xx: suspend", SMX_OUTCOME_FAILED, PHASE(TLS), 554, {0}, MUX_ACTION_NEXT, 0, 1},
    {"starttls 454: next", SMX_OUTCOME_FAILED, PHASE(TLS), 454, {4, 7, 0}, MUX_ACTION_NEXT, 0, 0},
    {"auth 535: suspend", SMX_OUTCOME_FAILED, PHASE(AUTH), 535, {5, 7, 8}, MUX_ACTION_NEXT, 0, 1},
    {"auth 550: suspend", SMX_OUTCOME_FAILED, PHASE(AUTH), 550, {0}, MUX_ACTION_NEXT, 0, 1},
    {"auth 454: next", SMX_OUTCOME_FAILED, PHASE(AUTH), 454, {4, 7, 0}, MUX_ACTION_NEXT, 0, 0},
    {"auth not offered: next", SMX_OUTCOME_FAILED, PHASE(AUTH), 0, {0}, MUX_ACTION_NEXT, 0, 0},
    {"mail 530: suspend", SMX_OUTCOME_REFUSED, PHASE(MAIL), 530, {5, 7, 0}, MUX_ACTION_NEXT, 0, 1},
    {"mail 4xx: next", SMX_OUTCOME_REFUSED, PHASE(MAIL), 451, {4, 3, 0}, MUX_ACTION_NEXT, 0, 0},
    {"mail 5xx: next", SMX_OUTCOME_REFUSED, PHASE(MAIL), 550, {5, 7, 1}, MUX_ACTION_NEXT, 1, 0},
    {"rcpt 4xx: next", SMX_OUTCOME_REFUSED, PHASE(RCPT), 450, {4, 2, 1}, MUX_ACTION_NEXT, 0, 0},
    {"rcpt 5.1.1: final", SMX_OUTCOME_REFUSED, PHASE(RCPT), 550, {5, 1, 1}, MUX_ACTION_FINAL, 1, 0},
    {"rcpt 5.1.10: final",
     SMX_OUTCOME_REFUSED,
     PHASE(RCPT),
     556,
     {5, 1, 10},
     MUX_ACTION_FINAL,
     1,
     0},
    {"rcpt 5.2.1: final", SMX_OUTCOME_REFUSED, PHASE(RCPT), 550, {5, 2, 1}, MUX_ACTION_FINAL, 1, 0},
    {"rcpt bare 550: final", SMX_OUTCOME_REFUSED, PHASE(RCPT), 550, {0}, MUX_ACTION_FINAL, 1, 0},
    {"rcpt 5.7.1: next", SMX_OUTCOME_REFUSED, PHASE(RCPT), 550, {5, 7, 1}, MUX_ACTION_NEXT, 1, 0},
    {"rcpt 5.2.2: next", SMX_OUTCOME_REFUSED, PHASE(RCPT), 552, {5, 2, 2}, MUX_ACTION_NEXT, 1, 0},
    {"data 5xx: next", SMX_OUTCOME_REFUSED, PHASE(DATA), 554, {5, 7, 1}, MUX_ACTION_NEXT, 1, 0},
    {"in the body lost: next", SMX_OUTCOME_FAILED, PHASE(BODY), 0, {0}, MUX_ACTION_NEXT, 0, 0},
    {"dot 4xx: next", SMX_OUTCOME_REFUSED, PHASE(FINAL), 451, {4, 3, 0}, MUX_ACTION_NEXT, 0, 0},
    {"dot 421: next", SMX_OUTCOME_REFUSED, PHASE(FINAL), 421, {4, 3, 2}, MUX_ACTION_NEXT, 0, 0},
    {"dot 5xx: final", SMX_OUTCOME_REFUSED, PHASE(FINAL), 554, {5, 6, 0}, MUX_ACTION_FINAL, 1, 0},
    {"dot 535: final", SMX_OUTCOME_REFUSED, PHASE(FINAL), 535, {5, 7, 8}, MUX_ACTION_FINAL, 1, 0},
    {"dot 5.3.4: next", SMX_OUTCOME_REFUSED, PHASE(FINAL), 552, {5, 3, 4}, MUX_ACTION_NEXT, 1, 0},
};

static void mux_classify__each_failure_means_what_the_design_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const row *r = &rows[i];
        smx_client_result client = {.outcome = r->outcome,
                                    .phase = r->phase,
                                    .reply = {(uint16_t)r->code, r->enhanced, {NULL, 0}}};
        upstream_result result = {.client = &client};
        mux_classified c = mux_classify(&result);
        if (c.action != r->action || c.permanent != r->permanent || c.suspend != r->suspend)
            fail_msg("%s: got action %d, permanent %d, suspend %d", r->claim, c.action, c.permanent,
                     c.suspend);
    }
}

static void mux_classify__an_unsuitable_server_is_a_refusal_but_not_final(void **state)
{
    (void)state;
    smx_client_result client = {.outcome = SMX_OUTCOME_REFUSED,
                                .phase = SMX_CLIENT_PHASE_MAIL,
                                .reply = SMX_REPLY(552, 5, 3, 4, "too big")};
    upstream_result result = {.client = &client, .unsuitable = "too big"};
    mux_classified c = mux_classify(&result);
    assert_int_equal(c.action, MUX_ACTION_NEXT);
    assert_true(c.permanent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mux_classify__each_failure_means_what_the_design_says),
        cmocka_unit_test(mux_classify__an_unsuitable_server_is_a_refusal_but_not_final),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
