/* Tables for people: columns as wide as what is in them. */
#include "app/admin_show.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS = 8, CELL = 160 };

typedef struct row {
    char cells[COLUMNS][CELL];
} row;

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void write_wait(char *cell, long long ms)
{
    if (ms >= 3600000)
        (void)snprintf(cell, CELL, " %lldh%02lldm", ms / 3600000, ms / 60000 % 60);
    else if (ms >= 60000)
        (void)snprintf(cell, CELL, " %lldm%02llds", ms / 60000, ms / 1000 % 60);
    else
        (void)snprintf(cell, CELL, " %llds", (ms + 999) / 1000);
}

static void write_limits(char *cell, const json_t *limits)
{
    size_t i;
    const json_t *one;
    size_t at = 0;
    (void)snprintf(cell, CELL, "-");
    json_array_foreach(limits, i, one)
    {
        int wrote = snprintf(cell + at, CELL - at, "%s%lld of %s", i == 0 ? "" : ", ",
                             number_of(one, "used"), text_of(one, "limit"));
        if (wrote < 0 || (size_t)wrote >= CELL - at)
            return;
        at += (size_t)wrote;
    }
}

static void write_row(row *r, const json_t *u)
{
    const json_t *connections = json_object_get(u, "connections");
    const json_t *counts = json_object_get(u, "counts");
    char wait[CELL] = "";
    if (number_of(u, "wait_ms") > 0)
        write_wait(wait, number_of(u, "wait_ms"));
    (void)snprintf(r->cells[0], CELL, "%s", text_of(u, "name"));
    (void)snprintf(r->cells[1], CELL, "%s%.40s%.40s",
                   strcmp(text_of(u, "state"), "full") == 0 ? "quota " : "", text_of(u, "state"),
                   wait);
    (void)snprintf(r->cells[2], CELL, "%s", text_of(u, "breaker"));
    (void)snprintf(r->cells[3], CELL, "%lld/%lld",
                   number_of(connections, "busy") + number_of(connections, "idle") +
                       number_of(connections, "opening"),
                   number_of(connections, "max"));
    (void)snprintf(r->cells[4], CELL, "%lld", number_of(counts, "accepted"));
    (void)snprintf(r->cells[5], CELL, "%lld",
                   number_of(counts, "refused") + number_of(counts, "failed") +
                       number_of(counts, "unknown"));
    write_limits(r->cells[6], json_object_get(u, "limits"));
    (void)snprintf(r->cells[7], CELL, "%s", text_of(u, "url"));
}

static void widen(size_t *widths, const row *r)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        size_t length = strlen(r->cells[i]);
        widths[i] = length > widths[i] ? length : widths[i];
    }
}

static void print_row(const size_t *widths, const row *r)
{
    for (size_t i = 0; i + 1 < COLUMNS; i++)
        (void)printf("%-*s  ", (int)widths[i], r->cells[i]);
    (void)printf("%s\n", r->cells[COLUMNS - 1]);
}

void admin_show_upstreams(const json_t *upstreams)
{
    row r = {{"NAME", "STATE", "BREAKER", "CONNECTIONS", "TAKEN", "NOT TAKEN", "LIMITS", "URL"}};
    size_t widths[COLUMNS] = {0};
    size_t i;
    const json_t *one;
    widen(widths, &r);
    row line = {0};
    json_array_foreach(upstreams, i, one)
    {
        write_row(&line, one);
        widen(widths, &line);
    }
    print_row(widths, &r);
    json_array_foreach(upstreams, i, one)
    {
        write_row(&line, one);
        print_row(widths, &line);
    }
}

/* ---- tests ---- */

static void print_word(const char *name, const char *text)
{
    if (text[0] != '\0')
        (void)printf("  %-11s %s\n", name, text);
}

static void print_tls(const json_t *tls)
{
    char text[2 * CELL];
    if (!json_is_object(tls)) {
        print_word("TLS", "none: clear text");
        return;
    }
    (void)snprintf(text, sizeof(text), "%s, %s", text_of(tls, "version"), text_of(tls, "cipher"));
    print_word("TLS", text);
    if (json_is_true(json_object_get(tls, "verified")))
        (void)snprintf(text, sizeof(text), "verified");
    else
        (void)snprintf(text, sizeof(text), "NOT verified: %s", text_of(tls, "unverified"));
    print_word("certificate", text);
}

static void print_extensions(const json_t *extensions)
{
    size_t i;
    const json_t *one;
    if (json_array_size(extensions) == 0)
        return;
    (void)printf("  %-11s", "offers");
    json_array_foreach(extensions, i, one)(void) printf(" %s", json_string_value(one));
    (void)printf("\n");
}

void admin_show_test(const json_t *answer)
{
    size_t i;
    const json_t *step;
    const json_t *failure = json_object_get(answer, "failure");
    (void)printf("%s: %s (%lld ms)\n", text_of(answer, "upstream"),
                 json_is_true(json_object_get(answer, "ok")) ? "ok" : "FAILED",
                 number_of(answer, "took_ms"));
    json_array_foreach(json_object_get(answer, "steps"), i, step)(void)
        printf("  %-11s %lld ms\n", text_of(step, "phase"), number_of(step, "ms"));
    print_tls(json_object_get(answer, "tls"));
    print_word("AUTH by", text_of(answer, "mechanism"));
    print_word("its name", text_of(answer, "name"));
    print_extensions(json_object_get(answer, "extensions"));
    if (json_is_object(failure)) {
        print_word("failed in", text_of(failure, "phase"));
        print_word("because", text_of(failure, "error"));
        print_word("it said", text_of(failure, "reply"));
        print_word("", text_of(failure, "detail"));
    }
}
