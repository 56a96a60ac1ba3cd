/* What the tests of quotas share: a virtual time, limits, quotas and stores. */
#ifndef TEST_UPSTREAM_QUOTA_FIXTURE_H
#define TEST_UPSTREAM_QUOTA_FIXTURE_H

#include "support/unit_test.h"

#include "support/store_barrier.h"
#include "upstream/quota.h"

static const uint64_t NOW = 1700000000000;

static inline uint64_t store_clock(void)
{
    return NOW;
}

static inline store *store_of(const char *url)
{
    const store_options options = {.url = url, .wall_ms = store_clock};
    store *s;
    problem p = {0};
    if (store_open(&options, &s, &p) != 0)
        fail_msg("%s", p.text);
    return s;
}

static inline quota_limit limit_of(const char *text)
{
    quota_limit limit;
    problem p = {0};
    if (quota_limit_parse(slice_of_text(text), &limit, &p) != 0)
        fail_msg("%s: %s", text, p.text);
    return limit;
}

static inline quota *quota_of(store *s, const char *one, const char *two, uint64_t now)
{
    quota_limit limits[2] = {limit_of(one)};
    if (two != NULL)
        limits[1] = limit_of(two);
    quota *q;
    assert_int_equal(quota_new("upstream x", s, limits, two == NULL ? 1 : 2, now, &q), 0);
    return q;
}

/* Reserves, waiting for the store where it must be asked. */
static inline quota_state reserve(quota *q, store *s, uint64_t now, uint64_t recipients,
                                  quota_reservation *r)
{
    quota_verdict v;
    while ((v = quota_reserve(q, now, recipients, NULL, r)).state == QUOTA_LEASING)
        store_barrier(s);
    return v.state;
}

static inline bool use(quota *q, store *s, uint64_t now, uint64_t recipients)
{
    quota_reservation r = {0};
    if (reserve(q, s, now, recipients, &r) != QUOTA_OK)
        return false;
    quota_commit(q, now, &r);
    return true;
}

static inline uint64_t use_all(quota *q, store *s, uint64_t now)
{
    uint64_t used = 0;
    while (use(q, s, now, 1))
        used++;
    return used;
}

#endif
