/* Windows of the week (see daytime.h). */
#include "mux/daytime.h"

#include <stdio.h>

enum { MINUTES_OF_DAY = 1440, ZONE_NAME_MAX = 64, DAY_COUNT = 7, EVERY_DAY = 127 };

static const char *const DAYS[DAY_COUNT] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

/* ---- reading ---- */

static bool daytime_day(smx_slice word, unsigned *day)
{
    for (unsigned i = 0; i < DAY_COUNT; i++) {
        if (slice_equal_nocase(word, slice_of_text(DAYS[i]))) {
            *day = i;
            return true;
        }
    }
    return false;
}

/* "fri-mon" goes over the week's end. */
static bool daytime_day_range(smx_slice word, uint8_t *days)
{
    size_t dash = slice_find(word, '-');
    unsigned first;
    unsigned last;
    if (!daytime_day(slice_to(word, dash), &first))
        return false;
    last = first;
    if (dash < word.len && !daytime_day(slice_from(word, dash + 1), &last))
        return false;
    for (unsigned day = first;; day = (day + 1) % DAY_COUNT) {
        *days = (uint8_t)(*days | 1U << day);
        if (day == last)
            return true;
    }
}

static bool daytime_read_days(smx_slice word, uint8_t *days)
{
    uint8_t read = 0;
    smx_slice range;
    while (slice_cut(&word, ',', &range)) {
        if (!daytime_day_range(range, &read))
            return false;
    }
    *days = read;
    return true;
}

/* "8:00" or "08:00", up to "24:00". */
static bool daytime_minute(smx_slice word, uint16_t *minute)
{
    size_t colon = slice_find(word, ':');
    uint64_t hours;
    uint64_t minutes;
    if (colon == 0 || colon > 2 || word.len != colon + 3 ||
        slice_to_number(slice_to(word, colon), 24, &hours) != 0 ||
        slice_to_number(slice_from(word, colon + 1), 59, &minutes) != 0 ||
        hours * 60 + minutes > MINUTES_OF_DAY)
        return false;
    *minute = (uint16_t)(hours * 60 + minutes);
    return true;
}

static bool daytime_read_hours(smx_slice word, mux_daytime *daytime)
{
    size_t dash = slice_find(word, '-');
    uint16_t begin;
    uint16_t end;
    if (dash == word.len || !daytime_minute(slice_to(word, dash), &begin) ||
        !daytime_minute(slice_from(word, dash + 1), &end) || begin == end ||
        begin == MINUTES_OF_DAY)
        return false;
    daytime->begin = begin;
    daytime->length = (uint16_t)(end > begin ? end - begin : MINUTES_OF_DAY - begin + end);
    return true;
}

/* Only names of the database: a path or an offset such as "+02:00" is none. */
static int daytime_open_zone(smx_slice name, calendar_zone **zone, problem *p)
{
    char text[ZONE_NAME_MAX];
    bool is_name = name.len > 0 && name.len < sizeof(text) && ascii_is_alpha(name.data[0]) &&
                   slice_search(name, SMX_SLICE("..")) == name.len;
    int error = SMX_E_NOTFOUND;
    if (is_name) {
        memcpy(text, name.data, name.len);
        text[name.len] = '\0';
        error = calendar_zone_new(text, zone);
    }
    if (error != SMX_E_NOTFOUND)
        return error;
    return problem_set(p, SMX_E_SYNTAX,
                       "`%.*s` is no day, no hours and no time zone that this machine knows "
                       "(Debian's package tzdata); expected a time such as mon-fri 08:00-18:00 "
                       "Europe/Berlin",
                       (int)name.len, name.data);
}

static bool daytime_next_word(smx_slice *rest, smx_slice *word)
{
    *rest = slice_trim(*rest);
    if (rest->len == 0)
        return false;
    return slice_cut(rest, ' ', word);
}

int mux_daytime_parse(smx_slice text, mux_daytime *daytime, problem *p)
{
    mux_daytime read = {.days = 0};
    smx_slice rest = text;
    smx_slice word = {NULL, 0};
    bool more = daytime_next_word(&rest, &word);
    if (more && daytime_read_days(word, &read.days))
        more = daytime_next_word(&rest, &word);
    if (more && daytime_read_hours(word, &read))
        more = daytime_next_word(&rest, &word);
    bool is_last = slice_trim(rest).len == 0;
    if (!is_last || (read.days == 0 && read.length == 0))
        return problem_set(
            p, SMX_E_SYNTAX,
            "expected a time such as mon-fri 08:00-18:00 Europe/Berlin, found `%.*s`",
            (int)text.len, text.data);
    read.days = read.days == 0 ? EVERY_DAY : read.days;
    read.length = read.length == 0 ? MINUTES_OF_DAY : read.length;
    int error = daytime_open_zone(more ? word : SMX_SLICE("UTC"), &read.zone, p);
    if (error == 0)
        *daytime = read;
    return error;
}

void mux_daytime_free(mux_daytime *daytime)
{
    calendar_zone_free(daytime->zone);
    daytime->zone = NULL;
}

/* ---- asking ---- */

static unsigned daytime_weekday(int64_t local)
{
    return (unsigned)((local / 86400 + 3) % DAY_COUNT); /* the first of January 1970: a Thursday */
}

bool mux_daytime_contains(const mux_daytime *daytime, uint64_t wall_ms)
{
    int64_t local = calendar_local_seconds(daytime->zone, wall_ms);
    unsigned minute = (unsigned)(local % 86400 / 60);
    unsigned today = daytime_weekday(local);
    unsigned yesterday = (today + DAY_COUNT - 1) % DAY_COUNT;
    unsigned end = (unsigned)daytime->begin + daytime->length;
    bool in_todays = minute >= daytime->begin && minute < end;
    bool in_yesterdays = minute + MINUTES_OF_DAY < end;
    return (in_todays && (daytime->days & 1U << today) != 0) ||
           (in_yesterdays && (daytime->days & 1U << yesterday) != 0);
}

smx_slice mux_daytime_write(const mux_daytime *daytime, uint64_t wall_ms,
                            char text[static MUX_DAYTIME_TEXT])
{
    int64_t local = calendar_local_seconds(daytime->zone, wall_ms);
    unsigned minute = (unsigned)(local % 86400 / 60);
    int len = snprintf(text, MUX_DAYTIME_TEXT, "%s %02u:%02u %s", DAYS[daytime_weekday(local)],
                       minute / 60, minute % 60, calendar_abbreviation(daytime->zone, wall_ms));
    return slice_of(text, len < 0 || len >= MUX_DAYTIME_TEXT ? 0 : (size_t)len);
}
