/* Sentences for a person. */
#include "base/problem.h"

#include <stdarg.h>
#include <stdio.h>

int problem_set(problem *p, int error, const char *format, ...)
{
    if (p == NULL)
        return error;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(p->text, sizeof(p->text), format, arguments);
    va_end(arguments);
    return error;
}
