/* Requests of HTTP on a port for mail (ATTACKS 19). Pure. */
#include "session/http_line.h"

#include "base/slice.h"

bool session_line_is_http(const smx_command *command)
{
    static const smx_slice methods[] = {
        SMX_SLICE("GET"),    SMX_SLICE("POST"),    SMX_SLICE("PUT"),   SMX_SLICE("HEAD"),
        SMX_SLICE("DELETE"), SMX_SLICE("CONNECT"), SMX_SLICE("TRACE"), SMX_SLICE("OPTIONS"),
        SMX_SLICE("PATCH"),  SMX_SLICE("PRI"),
    };
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (slice_equal_nocase(command->name, methods[i]))
            return true;
    return slice_search(command->argument, SMX_SLICE("HTTP/")) < command->argument.len;
}
