/* The application of the demo: it signs in at the multiplexer and sends one message after the
 * other, as any program does that has one SMTP server in its settings. */
#ifndef APP_DEMO_SENDER_H
#define APP_DEMO_SENDER_H

#include "base/problem.h"
#include "smx/loop.h"

typedef struct demo_sender demo_sender;

typedef struct demo_account {
    uint16_t port; /* on 127.0.0.1 */
    const char *user;
    const char *password;
} demo_account;

/* What the application is told of a message. */
typedef struct demo_answer {
    uint16_t code; /* 0: no reply came */
    char text[256];
} demo_answer;

/* `account` and its strings must outlive the sender; it runs `loop` while it waits. */
SMX_MUST_USE int demo_sender_new(smx_loop *loop, const demo_account *account, demo_sender **sender);
/* Sends and waits for the answer. A failure is local: it says why no message could be sent. */
SMX_MUST_USE int demo_sender_send(demo_sender *sender, const char *from, const char *to,
                                  smx_slice message, demo_answer *answer, problem *p);
/* Signs off. NULL is nothing. */
void demo_sender_free(demo_sender *sender);

#endif
