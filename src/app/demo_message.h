/* The messages of the demo: each bears its id in Message-ID, Subject and body. */
#ifndef APP_DEMO_MESSAGE_H
#define APP_DEMO_MESSAGE_H

#include "base/buffer.h"
#include "smx/message.h"

enum { DEMO_ID = 64 };

/* "RUN-00007": the id of a message of a run. */
smx_slice demo_message_id(const char *run, uint32_t number, char text[static DEMO_ID]);

/* Appends the message as it is sent, lines ended by CRLF. */
SMX_MUST_USE int demo_message_write(const char *run, uint32_t number, const char *from,
                                    const char *to, buffer *out);

/* The number of a message that arrived; 0: it is not one of this run, or not whole: the three places
 * must tell the same id. `message` must be whole. */
uint32_t demo_message_read(const char *run, const smx_message *message);

#endif
