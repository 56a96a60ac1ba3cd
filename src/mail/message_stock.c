/* The last message that came is the first that goes: its memory is still in the caches. A message that
 * somebody shares, that has a file, or for which there is no room is freed as ever. */
#include "mail/message_stock.h"

#include "mail/message_reuse.h"

int message_stock_take(message_stock *stock, const smx_message_options *options,
                       smx_message **message)
{
    if (stock->count == 0)
        return smx_message_new(options, message);
    smx_message *m = stock->messages[--stock->count];
    stock->octets -= message_capacity(m);
    message_reuse(m);
    *message = m;
    return 0;
}

void message_stock_give(message_stock *stock, smx_message *message)
{
    if (message == NULL)
        return;
    if (stock->count == MESSAGE_STOCK ||
        message_capacity(message) > MESSAGE_STOCK_OCTETS - stock->octets ||
        !message_empty(message)) {
        smx_message_free(message);
        return;
    }
    stock->octets += message_capacity(message);
    stock->messages[stock->count++] = message;
}

void message_stock_clear(message_stock *stock)
{
    while (stock->count > 0) {
        smx_message *m = stock->messages[--stock->count];
        message_reuse(m);
        smx_message_free(m);
    }
    stock->octets = 0;
}
