/* The smtpmux program. */
#include <stdio.h>

int main(void)
{
    (void)puts("smtpmux " SMX_VERSION_TEXT);
    return 0;
}
