/* The HTTP server with more clients than it holds: whoever asks is answered, whatever others do.
 * The server ends cleanly, whatever arrives meanwhile. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "io/http.h"

enum {
    CROWD = 100,
    DEADLINE_MS = 20000, /* longer than any connection may be idle */
    ENDS = 1000,
    LAST_CLIENTS = 24,
};

static bool render(void *argument, const char *path, struct http_answer *answer)
{
    (void)argument;
    text_add(&answer->body, "alive\n");
    return !strcmp(path, "/livez");
}

static struct http *server(void)
{
    static const struct http_handler handler = {.render = render};
    struct error error;
    struct http *http = http_new("127.0.0.1:0", "", &handler, NULL, &error);
    if (!http)
        fail_msg("%s", error.text);
    return http;
}

static int client(const struct http *http)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port =
                                      htons((uint16_t)atoi(strrchr(http_address(http), ':') + 1))};
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *words)
{
    send(fd, words, strlen(words), MSG_NOSIGNAL); /* which may have been hung up on */
}

/* Whether an answer comes within a time. */
static bool answered(int fd, int ms)
{
    char answer[1024] = "";
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    if (poll(&waiting, 1, ms) != 1)
        return false;
    ssize_t n = recv(fd, answer, sizeof answer - 1, 0);
    if (n <= 0)
        fail_msg("hung up on: %s", n ? strerror(errno) : "end of stream");
    assert_non_null(strstr(answer, "HTTP/1.1 200"));
    return true;
}

static const char request[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

static void slow_clients_keep_nobody_out(void **state)
{
    (void)state;
    struct http *http = server();
    int slow[CROWD];
    for (size_t i = 0; i < CROWD; i++) {
        slow[i] = client(http);
        say(slow[i], "GET /");
    }
    int probe = client(http);
    say(probe, request);
    int64_t until = clock_boot_ms() + DEADLINE_MS;
    bool good = false;
    while (!(good = answered(probe, 50)) && clock_boot_ms() < until)
        for (size_t i = 0; i < CROWD; i++)
            say(slow[i], "x");
    assert_true(good);
    close(probe);
    for (size_t i = 0; i < CROWD; i++)
        close(slow[i]);
    http_free(http);
}

static void who_goes_on_asking_stays(void **state)
{
    (void)state;
    struct http *http = server();
    int regular = client(http), silent[CROWD];
    for (size_t i = 0; i < CROWD; i++) {
        say(regular, request);
        assert_true(answered(regular, DEADLINE_MS));
        silent[i] = client(http);
    }
    for (size_t i = 0; i < CROWD; i++)
        close(silent[i]);
    close(regular);
    http_free(http);
}

/* The library answers a malformed request by itself, and does so wrongly once it is being ended. */
static void malformed_requests_while_it_ends(void **state)
{
    (void)state;
    static const char malformed[] =
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n";
    for (int n = 0; n < ENDS; n++) {
        struct http *http = server();
        int last[LAST_CLIENTS];
        for (size_t i = 0; i < LAST_CLIENTS; i++) {
            last[i] = client(http);
            say(last[i], malformed);
        }
        http_free(http);
        for (size_t i = 0; i < LAST_CLIENTS; i++)
            close(last[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_requests_while_it_ends),
        cmocka_unit_test(slow_clients_keep_nobody_out),
        cmocka_unit_test(who_goes_on_asking_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
