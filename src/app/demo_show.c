/* The words of the demo. Nothing is owned. Colours are ANSI's; NO_COLOR is heeded. */
#include "app/demo_show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CELLS_IN_ROW = 4, CELL_WIDTH = 9 };

static const char PLAIN[] = "0";
static const char BOLD[] = "1";
static const char DIM[] = "2";
static const char RED[] = "31";
static const char GREEN[] = "32";
static const char YELLOW[] = "33";

/* A text in a colour, where there are colours. */
static void paint(const demo_show *show, const char *colour, const char *text)
{
    if (show->is_colourful)
        (void)printf("\033[%sm%s\033[0m", colour, text);
    else
        (void)fputs(text, stdout);
}

void demo_show_begin(demo_show *show)
{
    const char *term = getenv("TERM");
    *show = (demo_show){.is_terminal = isatty(STDOUT_FILENO) == 1};
    show->is_colourful = show->is_terminal && getenv("NO_COLOR") == NULL && term != NULL &&
                         strcmp(term, "dumb") != 0;
}

void demo_show_intro(const demo_show *show, uint32_t messages)
{
    (void)putchar('\n');
    paint(show, BOLD, "  your application  --->  smtpmux  --->  alpha, beta\n");
    (void)printf(
        "\n"
        "  An application knows one mail server only: smtpmux. It signs in there and\n"
        "  sends %u messages. smtpmux hands each to one of two mail providers, alpha and\n"
        "  beta, in turn (round-robin). On the way, the providers fail in different ways.\n",
        messages);
}

void demo_show_phase(demo_show *show, unsigned number, const char *title, const char *why)
{
    char heading[96];
    (void)snprintf(heading, sizeof(heading), "\n  %u. %s\n", number, title);
    paint(show, BOLD, heading);
    (void)printf("     %s\n\n", why);
    show->column = 0;
    show->has_failover = false;
    show->has_refusal = false;
}

static void end_row(demo_show *show)
{
    if (show->column > 0)
        (void)putchar('\n');
    show->column = 0;
}

static void show_refusal(demo_show *show, const demo_outcome *outcome)
{
    char line[320];
    end_row(show);
    (void)snprintf(line, sizeof(line), "  %5u  %u %s\n", outcome->number, outcome->answer->code,
                   outcome->answer->text);
    paint(show, RED, line);
    show->has_refusal = true;
}

void demo_show_message(demo_show *show, const demo_outcome *outcome)
{
    char cell[64];
    if (outcome->answer->code != 250) {
        show_refusal(show, outcome);
        return;
    }
    (void)printf("%*s%5u  ", show->column == 0 ? 2 : show->padding, "", outcome->number);
    paint(show, GREEN, "250 ");
    int len = snprintf(cell, sizeof(cell), outcome->failed == NULL ? "%s" : "%-5s *",
                       outcome->taker == NULL ? "?" : outcome->taker);
    show->padding = len < CELL_WIDTH ? CELL_WIDTH - len : 1;
    paint(show, outcome->failed == NULL ? PLAIN : YELLOW, cell);
    show->has_failover = show->has_failover || outcome->failed != NULL;
    if (++show->column == CELLS_IN_ROW)
        end_row(show);
    (void)fflush(stdout);
}

void demo_show_phase_end(demo_show *show)
{
    end_row(show);
    if (show->has_failover)
        paint(show, YELLOW, "\n     * the other provider was asked first, and could not take it\n");
    if (show->has_refusal)
        paint(show, RED,
              "\n     These messages were not accepted: the application must try again.\n");
    (void)fflush(stdout);
}

void demo_show_counts(const demo_show *show, const demo_counts *counts, size_t count)
{
    (void)putchar('\n');
    paint(show, BOLD,
          "  provider    taken    refused    broken off    sent via the other instead\n");
    for (size_t i = 0; i < count; i++) {
        const demo_counts *c = &counts[i];
        (void)printf("  %-8s  %7u  %9llu  %12llu  %28u\n", c->name, c->taken,
                     (unsigned long long)c->refused, (unsigned long long)c->broken, c->passed_on);
    }
    paint(show, DIM,
          "\n"
          "  taken:      in the provider's own records\n"
          "  refused:    the provider answered \"not now\"\n"
          "  broken off: it could not be reached, or closed the connection\n");
}

void demo_show_verdict(const demo_show *show, const demo_verdict *verdict)
{
    char line[160];
    int len = snprintf(line, sizeof(line), "%u accepted, %u delivered, %u lost, %u doubled",
                       verdict->accepted, verdict->delivered, verdict->lost, verdict->doubled);
    (void)printf("\n"
                 "  Accepted: the application was told 250, so it need not care any more.\n"
                 "  Delivered: a provider's own records have the message.\n\n");
    if (verdict->strange > 0 && len > 0)
        (void)snprintf(line + len, sizeof(line) - (size_t)len, ", %u strange", verdict->strange);
    paint(show, demo_verdict_is_good(verdict) ? GREEN : RED, line);
    (void)putchar('\n');
    (void)fflush(stdout);
}

void demo_show_invitation(const demo_show *show, const demo_account *account)
{
    paint(show, BOLD, "\n  It is still running. Send a message of your own:\n\n");
    (void)printf("swaks --server 127.0.0.1:%u --auth-user %s --auth-password %s "
                 "--from %s --to you@example.net\n\n",
                 account->port, account->user, account->password, account->user);
    (void)printf("  Every message that arrives is told here. Ctrl-C ends the demo.\n\n");
    (void)fflush(stdout);
}
