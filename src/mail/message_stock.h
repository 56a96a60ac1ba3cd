/* Messages that are done with, kept with their memory and files for those that come: a server has a
 * stock, so that a message costs no allocation. What lies in stock is bounded, and is not counted on the budget.
 * One thread's. */
#ifndef MAIL_MESSAGE_STOCK_H
#define MAIL_MESSAGE_STOCK_H

#include "smx/message.h"

enum {
    MESSAGE_STOCK = 32,                     /* messages */
    MESSAGE_STOCK_FILES = 16,               /* ... that have a file, of up to 8 MiB */
    MESSAGE_STOCK_OCTETS = 4 * 1024 * 1024, /* of their memory */
};

/* Zero is an empty stock. */
typedef struct message_stock {
    smx_message *messages[MESSAGE_STOCK];
    size_t count;
    size_t files;
    size_t octets;
    size_t least; /* that were in stock at any time since message_stock_trim */
} message_stock;

/* As smx_message_new; the options must be those of all messages of this stock. */
SMX_MUST_USE int message_stock_take(message_stock *stock, const smx_message_options *options,
                                    smx_message **message);
/* As smx_message_free. */
void message_stock_give(message_stock *stock, smx_message *message);
/* Frees those that were not taken since the last call; true if some are left. */
bool message_stock_trim(message_stock *stock);
/* Frees what is in stock. */
void message_stock_clear(message_stock *stock);

#endif
