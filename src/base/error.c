/* The meaning of local failures in plain English. */
#include "smx/types.h"

const char *smx_error_text(int error)
{
    switch (error) {
    case 0:
        return "no error";
#define ERROR_TEXT(number, name, text)                                                             \
    case number:                                                                                   \
        return text;
        SMX_ERROR_MAP(ERROR_TEXT)
#undef ERROR_TEXT
    default:
        return "unknown error";
    }
}
