/* The smtpmux program: everything is in the verbs, but what libcurl wants before the first thread. */
#include <stdio.h>
#include <sysexits.h>

#include "app/commands.h"
#include "net/http.h"

int main(int argc, char **argv)
{
    if (http_begin() != 0) {
        (void)fputs("smtpmux: libcurl cannot be used here\n", stderr);
        return EX_OSERR;
    }
    int code = command_main(argc, argv);
    http_end();
    return code;
}
