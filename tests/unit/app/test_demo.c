/* The whole demo in this process, so that its threads run under the sanitizers. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/commands.h"

/* The exit code; standard output is this program's report and gets nothing of the demo. */
static int demo(const char *option, const char *argument)
{
    char *argv[] = {(char[]){"demo"}, (char *)(uintptr_t)option, (char *)(uintptr_t)argument, NULL};
    (void)fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_true(kept >= 0 && nowhere >= 0);
    assert_true(dup2(nowhere, STDOUT_FILENO) >= 0);
    int code = command_demo.run(3, argv);
    (void)fflush(stdout);
    assert_true(dup2(kept, STDOUT_FILENO) >= 0);
    (void)close(kept);
    (void)close(nowhere);
    return code;
}

static void app_demo__its_own_records_say_that_all_is_well(void **state)
{
    (void)state;
    assert_int_equal(demo("--messages", "60"), EX_OK);
}

static void app_demo__it_can_be_run_again_in_the_same_process(void **state)
{
    (void)state;
    assert_int_equal(demo("--messages", "7"), EX_OK);
    assert_int_equal(demo("--messages", "1"), EX_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_demo__its_own_records_say_that_all_is_well),
        cmocka_unit_test(app_demo__it_can_be_run_again_in_the_same_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
