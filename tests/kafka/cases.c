#include "cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { AT_ONCE = 4 };

static void start(const struct CMUnitTest *test)
{
    const struct CMUnitTest tests[] = {*test};
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    if (pid == 0)
        exit(cmocka_run_group_tests(tests, NULL, NULL));
}

/* Returns 1 if the case that ends next has failed, else 0. */
static int await(void)
{
    int status;
    if (wait(&status) < 0) {
        perror("wait");
        exit(1);
    }
    if (WIFSIGNALED(status))
        fprintf(stderr, "a case was ended by signal %d\n", WTERMSIG(status));
    return status != 0;
}

int cases_run(const struct CMUnitTest *tests, size_t count, int argc, char **argv)
{
    int failed = 0;
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
        return _cmocka_run_group_tests(argv[1], tests, count, NULL, NULL);
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* whole lines of several processes */
    for (size_t i = 0; i < count; i++) {
        if (i >= AT_ONCE)
            failed += await();
        start(&tests[i]);
    }
    for (size_t i = 0; i < count && i < AT_ONCE; i++)
        failed += await();
    printf("%d of %zu cases failed\n", failed, count);
    return failed;
}
