/* libsmx: an SMTP server, client and their parts, to embed. See docs/library.md. */
#ifndef SMX_H
#define SMX_H

#include "smx/client.h"
#include "smx/hook.h"
#include "smx/loop.h"
#include "smx/message.h"
#include "smx/proto.h"
#include "smx/proxy.h"
#include "smx/server.h"
#include "smx/session.h"
#include "smx/types.h"

#endif
