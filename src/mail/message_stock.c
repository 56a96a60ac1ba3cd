/* The last message that came is the first that goes: its memory is still in the caches, and those that
 * nobody needed for a while lie at the bottom. A message that somebody shares, or for which there is no
 * room, is freed as ever. */
#include "mail/message_stock.h"

#include "mail/message_reuse.h"

int message_stock_take(message_stock *stock, const smx_message_options *options,
                       smx_message **message)
{
    if (stock->count == 0)
        return smx_message_new(options, message);
    smx_message *m = stock->messages[--stock->count];
    stock->octets -= message_capacity(m);
    stock->files -= message_has_file(m);
    if (stock->count < stock->least)
        stock->least = stock->count;
    message_reuse(m);
    *message = m;
    return 0;
}

void message_stock_give(message_stock *stock, smx_message *message)
{
    if (message == NULL)
        return;
    if (stock->count == MESSAGE_STOCK ||
        (message_has_file(message) && stock->files == MESSAGE_STOCK_FILES) ||
        message_capacity(message) > MESSAGE_STOCK_OCTETS - stock->octets ||
        !message_empty(message)) {
        smx_message_free(message);
        return;
    }
    stock->octets += message_capacity(message);
    stock->files += message_has_file(message);
    stock->messages[stock->count++] = message;
}

/* Frees the `count` at the bottom. */
static void stock_drop(message_stock *stock, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        smx_message *m = stock->messages[i];
        stock->octets -= message_capacity(m);
        stock->files -= message_has_file(m);
        message_reuse(m);
        smx_message_free(m);
    }
    stock->count -= count;
    for (size_t i = 0; i < stock->count; i++)
        stock->messages[i] = stock->messages[count + i];
}

bool message_stock_trim(message_stock *stock)
{
    stock_drop(stock, stock->least);
    stock->least = stock->count;
    return stock->count > 0;
}

void message_stock_clear(message_stock *stock)
{
    stock_drop(stock, stock->count);
    stock->least = 0;
}
