/* The memory that messages share: taken and given back by message.c. */
#ifndef MAIL_BUDGET_H
#define MAIL_BUDGET_H

#include "smx/message.h"

/* Takes `octets`, or nothing at all: SMX_E_LIMIT. A NULL budget has no limit. Any thread. */
SMX_MUST_USE int budget_take(smx_budget *budget, uint64_t octets);
void budget_give(smx_budget *budget, uint64_t octets);

#endif
