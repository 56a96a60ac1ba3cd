/* A message whose memory serves another one (message_stock.c). */
#ifndef MAIL_MESSAGE_REUSE_H
#define MAIL_MESSAGE_REUSE_H

#include "smx/message.h"

/* Octets of its memory. */
size_t message_capacity(const smx_message *message);
/* Empties it; its memory stays, but is not counted on the budget any more. False: somebody shares it, or
 * it has a file, and nothing was done. */
bool message_empty(smx_message *message);
/* An emptied one is in use again, as if it were new: its memory counts, or is freed where the budget has
 * no room. */
void message_reuse(smx_message *message);

#endif
