/* The table of replies. */
#include "server/replies.h"

const smx_reply peer_replies[PEER_REPLY_COUNT] = {
#define PEER_REPLY_ENTRY(name, code, class_digit, subject, detail, text)                           \
    [PEER_REPLY_##                                                                                 \
        name] = {(code), {(class_digit), (subject), (detail)}, {(text), sizeof(text) - 1}},
    PEER_REPLY_MAP(PEER_REPLY_ENTRY)
#undef PEER_REPLY_ENTRY
};
