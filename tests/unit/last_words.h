/* The last line of a process that dies of an internal contradiction. */
#pragma once

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fatal.h"
#include "base/log.h"

/* What a process that does something fatal writes; by SIGABRT it must end. */
static inline const char *last_words(void (*act)(void))
{
    static char words[16384];
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        signal(SIGABRT, SIG_DFL); /* cmocka has a handler of its own */
        dup2(ends[1], STDERR_FILENO);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        log_setup(LOG_ERROR, LOG_JSON, "worker-1");
        fatal_prepare();
        act();
        _exit(0);
    }
    close(ends[1]);
    size_t size = 0;
    for (ssize_t n; (n = read(ends[0], words + size, sizeof words - 1 - size)) > 0;)
        size += (size_t)n;
    close(ends[0]);
    words[size] = '\0';
    char *of_emulator = strstr(words, "qemu: uncaught target signal"); /* it has a last word, too */
    if (of_emulator)
        *of_emulator = '\0';
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    return words;
}
