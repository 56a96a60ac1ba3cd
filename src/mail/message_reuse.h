/* A message whose memory serves another one (message_stock.c). */
#ifndef MAIL_MESSAGE_REUSE_H
#define MAIL_MESSAGE_REUSE_H

#include "smx/message.h"

/* Octets of its memory. */
size_t message_capacity(const smx_message *message);
bool message_has_file(const smx_message *message);
/* Empties it; its memory and its file stay, but are not counted on the budget any more. False: somebody
 * shares it, or its file is too large to be kept or broken, and nothing was done. */
bool message_empty(smx_message *message);
/* An emptied one is in use again, as if it were new: its memory counts, or is freed where the budget has
 * no room. */
void message_reuse(smx_message *message);

#endif
