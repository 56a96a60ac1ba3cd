/* See hello_name.h. Pure. */
#include "session/hello_name.h"

bool session_hello_name_is_valid(smx_slice name)
{
    if (name.len == 0 || name.len > SMX_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] <= ' ' || name.data[i] > '~')
            return false;
    return true;
}
