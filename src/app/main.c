/* The smtpmux program: everything is in the verbs. */
#include "app/commands.h"

int main(int argc, char **argv)
{
    return command_main(argc, argv);
}
