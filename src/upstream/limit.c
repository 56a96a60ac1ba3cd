/* Reads the texts of limits. The words of windows are one table. */
#include "upstream/limit.h"

#include <stdio.h>

static const char FORM[] = "`N [messages|recipients]/window [calendar [ZONE]]`, such as "
                           "`500 recipients/day`";

enum { AMOUNT_MAX = 1000000000 };

typedef struct window_word {
    const char *words[4];
    uint64_t ms;
    calendar_unit calendar;
} window_word;

#define MINUTE_MS 60000ULL
#define DAY_MS    86400000ULL
static const window_word WINDOWS[] = {
    {{"s", "sec", "second", "seconds"}, 1000, CALENDAR_SECOND},
    {{"m", "min", "minute", "minutes"}, MINUTE_MS, CALENDAR_MINUTE},
    {{"h", "hour", "hours"}, 60 * MINUTE_MS, CALENDAR_HOUR},
    {{"d", "day", "days"}, DAY_MS, CALENDAR_DAY},
    {{"w", "week", "weeks"}, 7 * DAY_MS, CALENDAR_WEEK},
    {{"month", "months"}, 30 * DAY_MS, CALENDAR_MONTH},
};
static const uint64_t WINDOW_MAX = 366 * DAY_MS;
#undef MINUTE_MS
#undef DAY_MS

static const char *const CALENDAR_NAMES[] = {"second", "minute", "hour", "day", "week", "month"};
static const char *const UNIT_NAMES[] = {"messages", "recipients"};

/* The next word: what stands before a space or a slash. */
static smx_slice limit_word(smx_slice *rest)
{
    *rest = slice_trim(*rest);
    size_t len = 0;
    while (len < rest->len && !ascii_is_space(rest->data[len]) && rest->data[len] != '/')
        len++;
    smx_slice word = slice_to(*rest, len);
    *rest = slice_trim(slice_from(*rest, len));
    return word;
}

/* Digits, with `_` between them for the eye. */
static int limit_amount(smx_slice word, uint64_t *amount, problem *p)
{
    uint64_t n = 0;
    bool good = word.len > 0 && ascii_is_digit(word.data[0]) && word.data[word.len - 1] != '_';
    for (size_t i = 0; i < word.len && good && n <= AMOUNT_MAX; i++) {
        if (ascii_is_digit(word.data[i]))
            n = n * 10 + (uint64_t)(word.data[i] - '0');
        else
            good = word.data[i] == '_' && word.data[i - 1] != '_';
    }
    if (!good)
        return problem_set(p, SMX_E_SYNTAX, "`%.*s` is no number: a limit is written %s",
                           (int)word.len, word.data == NULL ? "" : word.data, FORM);
    if (n == 0 || n > AMOUNT_MAX)
        return problem_set(p, SMX_E_RANGE, "the number of a limit is 1 to %d", AMOUNT_MAX);
    *amount = n;
    return 0;
}

static int limit_unit(smx_slice word, quota_unit *unit, problem *p)
{
    static const char *const SINGULAR[] = {"message", "recipient"};
    *unit = QUOTA_MESSAGES;
    if (word.len == 0)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        if (slice_equal_nocase(word, slice_of_text(UNIT_NAMES[i])) ||
            slice_equal_nocase(word, slice_of_text(SINGULAR[i]))) {
            *unit = (quota_unit)i;
            return 0;
        }
    }
    return problem_set(p, SMX_E_SYNTAX,
                       "`%.*s` cannot be counted: write `messages` or "
                       "`recipients`",
                       (int)word.len, word.data);
}

static const window_word *limit_find_window(smx_slice word)
{
    for (size_t i = 0; i < sizeof(WINDOWS) / sizeof(WINDOWS[0]); i++)
        for (size_t j = 0; j < 4 && WINDOWS[i].words[j] != NULL; j++)
            if (slice_equal_nocase(word, slice_of_text(WINDOWS[i].words[j])))
                return &WINDOWS[i];
    return NULL;
}

/* `day`, `5m`, `90s`. */
static int limit_window(smx_slice word, quota_limit *limit, uint64_t *count, problem *p)
{
    size_t digits = 0;
    while (digits < word.len && ascii_is_digit(word.data[digits]))
        digits++;
    const window_word *w = limit_find_window(slice_from(word, digits));
    if (w == NULL)
        return problem_set(p, SMX_E_SYNTAX,
                           "`%.*s` is no window: write s, minute, hour, day, week "
                           "or month, or a length such as `5m` or `90s`",
                           (int)word.len, word.data == NULL ? "" : word.data);
    *count = 1;
    if (digits > 0 && (slice_to_number(slice_to(word, digits), WINDOW_MAX / 1000, count) != 0 ||
                       *count == 0 || *count > WINDOW_MAX / w->ms))
        return problem_set(p, SMX_E_RANGE, "a window is 1s to 366d long");
    limit->window_ms = *count * w->ms;
    limit->calendar = w->calendar;
    return 0;
}

static int limit_zone(smx_slice word, quota_limit *limit, problem *p)
{
    smx_slice name = word.len == 0 ? SMX_SLICE("UTC") : word;
    calendar_zone *zone;
    int error = SMX_E_NOTFOUND;
    if (name.len < QUOTA_ZONE) {
        memcpy(limit->zone, name.data, name.len);
        limit->zone[name.len] = '\0';
        error = calendar_zone_new(limit->zone, &zone);
    }
    if (error == SMX_E_NOTFOUND)
        return problem_set(p, error,
                           "`%.*s` is no time zone that this machine knows: write an IANA "
                           "name such as `Europe/Berlin` (Debian's package `tzdata` has them)",
                           (int)name.len, name.data);
    if (error != 0)
        return problem_set(p, error, "out of memory");
    calendar_zone_free(zone);
    return 0;
}

/* What may follow the window. */
static int limit_calendar(smx_slice rest, uint64_t count, quota_limit *limit, problem *p)
{
    smx_slice word = limit_word(&rest);
    limit->is_calendar = slice_equal_nocase(word, SMX_SLICE("calendar"));
    if (word.len > 0 && !limit->is_calendar)
        return problem_set(p, SMX_E_SYNTAX,
                           "`%.*s`: behind the window only `calendar` and a time "
                           "zone may follow",
                           (int)word.len, word.data);
    if (rest.len > 0 && !limit->is_calendar)
        return problem_set(p, SMX_E_SYNTAX, "a limit is written %s", FORM);
    if (!limit->is_calendar && limit->calendar == CALENDAR_MONTH)
        return problem_set(p, SMX_E_SYNTAX,
                           "months are of the calendar: write `month calendar`, or "
                           "`30d`");
    if (!limit->is_calendar)
        return 0;
    if (count != 1)
        return problem_set(p, SMX_E_SYNTAX,
                           "with `calendar` the window is one minute, hour, day, "
                           "week or month");
    return limit_zone(rest, limit, p);
}

int quota_limit_parse(smx_slice text, quota_limit *out, problem *p)
{
    quota_limit limit = {0};
    smx_slice whole = slice_trim(text);
    if (whole.len >= sizeof(limit.text))
        return problem_set(p, SMX_E_SYNTAX, "that is too long: a limit is written %s", FORM);
    if (whole.len > 0)
        memcpy(limit.text, whole.data, whole.len);
    smx_slice rest = whole;
    int error = limit_amount(limit_word(&rest), &limit.amount, p);
    if (error == 0)
        error = limit_unit(limit_word(&rest), &limit.unit, p);
    if (error != 0)
        return error;
    if (rest.len == 0 || rest.data[0] != '/')
        return problem_set(p, SMX_E_SYNTAX, "a limit is written %s", FORM);
    rest = slice_from(rest, 1);
    uint64_t count = 1;
    error = limit_window(limit_word(&rest), &limit, &count, p);
    if (error == 0)
        error = limit_calendar(rest, count, &limit, p);
    if (error == 0)
        *out = limit;
    return error;
}

bool quota_limit_counts_alike(const quota_limit *a, const quota_limit *b)
{
    return a->unit == b->unit && a->window_ms == b->window_ms && a->is_calendar == b->is_calendar &&
           slice_equal(slice_of_text(a->zone), slice_of_text(b->zone));
}

void quota_limit_key(const quota_limit *limit, char key[static QUOTA_TEXT])
{
    if (limit->is_calendar)
        (void)snprintf(key, QUOTA_TEXT, "%s/%s %s", UNIT_NAMES[limit->unit],
                       CALENDAR_NAMES[limit->calendar], limit->zone);
    else
        (void)snprintf(key, QUOTA_TEXT, "%s/%llus", UNIT_NAMES[limit->unit],
                       (unsigned long long)(limit->window_ms / 1000));
}
