/* What libuv's errors mean to us. */
#ifndef NET_UV_ERROR_H
#define NET_UV_ERROR_H

/* A negative libuv error (or a negative errno, which is the same) as a negative SMX_E*; 0 stays 0. */
int uv_error_map(int uv_error);

#endif
