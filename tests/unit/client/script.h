/* A server that follows a script, on the loop of the client that is tested: each step waits for the
 * end of a line (or of some octets) and answers. And the client's callbacks, written down. */
#ifndef TEST_CLIENT_SCRIPT_H
#define TEST_CLIENT_SCRIPT_H

#include "../net/test_peers.h"
#include "smx/client.h"

/* One step: when what came since the last step ends in `expect`, `say` is sent. */
typedef struct script_step {
    const char *expect; /* NULL: at once */
    const char *say;    /* NULL: nothing; SCRIPT_CLOSE, SCRIPT_RESET: the connection ends */
} script_step;
extern const char SCRIPT_CLOSE[];
extern const char SCRIPT_RESET[];

typedef struct script {
    smx_loop *loop;
    struct uv_timer_s *tick;
    listener *listener;
    const script_step *steps; /* ends with {NULL, NULL} */
    size_t at;
    connection *server;
    bool server_ended;
    buffer got;   /* since the last step */
    buffer heard; /* all that came, in the script's connection */

    smx_client_options options;
    smx_client *client;
    char calls[64]; /* "r" ready, "a" a recipient's reply, "=" result, "." closed */
    size_t calls_count;
    bool closed;
    size_t results;
    smx_client_result result; /* the last one; without its slices */
    uint16_t code;            /* of its reply */
    char detail[256];
    uint16_t recipient_codes[4];

    smx_envelope envelope;
    smx_rcpt recipients[2];
    smx_submission submission;
    bool submits; /* submits when ready, and closes when ready again */
} script;

int script_setup(void **state);
int script_teardown(void **state);
/* Opens the client towards the script. */
void script_open(script *s, const script_step *steps);
/* The same, and runs until the client is closed. */
void script_run(script *s, const script_step *steps);
/* Runs until the script has come to this step. */
void script_run_to(script *s, size_t step);
void script_turn(script *s);
uint64_t script_clock(void);
#define script_until(s, condition)                                                                 \
    do {                                                                                           \
        uint64_t until_ = script_clock() + 10000;                                                  \
        while (!(condition)) {                                                                     \
            if (script_clock() > until_)                                                           \
                fail_msg("this did not happen: %s", #condition);                                   \
            script_turn(s);                                                                        \
        }                                                                                          \
    } while (0)
bool script_heard(const script *s, const char *text);

#endif
