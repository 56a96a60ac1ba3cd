/* What libuv's errors mean to us: one line for each that we tell apart. */
#include "net/uv_error.h"

#include <stddef.h>
#include <uv.h>

#include "smx/types.h"

static const struct {
    int uv_error;
    int error;
} uv_errors[] = {
    {UV_EOF, SMX_E_CLOSED},           {UV_EPIPE, SMX_E_CLOSED},
    {UV_ENOTCONN, SMX_E_CLOSED},      {UV_ECONNRESET, SMX_E_RESET},
    {UV_ECONNABORTED, SMX_E_RESET},   {UV_ECONNREFUSED, SMX_E_REFUSED},
    {UV_ENOENT, SMX_E_REFUSED}, /* connecting to a Unix socket that is not there */
    {UV_ETIMEDOUT, SMX_E_TIMEOUT},    {UV_ENOMEM, SMX_E_NOMEM},
    {UV_ENOBUFS, SMX_E_NOMEM},        {UV_EACCES, SMX_E_PERMISSION},
    {UV_EPERM, SMX_E_PERMISSION},     {UV_EADDRINUSE, SMX_E_BUSY},
    {UV_EBUSY, SMX_E_BUSY},           {UV_EINVAL, SMX_E_INVALID},
    {UV_ENAMETOOLONG, SMX_E_INVALID}, {UV_EAFNOSUPPORT, SMX_E_UNSUPPORTED},
    {UV_EMFILE, SMX_E_LIMIT},         {UV_ENFILE, SMX_E_LIMIT},
};

int uv_error_map(int uv_error)
{
    if (uv_error >= 0)
        return 0;
    for (size_t i = 0; i < sizeof(uv_errors) / sizeof(uv_errors[0]); i++)
        if (uv_errors[i].uv_error == uv_error)
            return uv_errors[i].error;
    return SMX_E_IO;
}
