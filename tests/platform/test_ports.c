/* Connections are found by their local port, each of those that share one and no other. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "io/platform_internal.h"

static struct sockaddr_in local(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int port_of(int socket)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    assert_int_equal(getsockname(socket, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

static int listening(void)
{
    struct sockaddr_in address = local(0);
    int made = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(made, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(made, 8), 0);
    return made;
}

/* A socket of libcurl's, not connected yet. */
static struct watch *opened(struct ports *ports)
{
    struct watch *watch = memory_zeroed(1, sizeof *watch);
    list_init(&watch->port_node);
    watch->socket = socket(AF_INET, SOCK_STREAM, 0);
    ports_add(ports, watch);
    return watch;
}

/* port: its own one; 0: any. Bound before it connects, as the kernel shares no port that connect
 * gave. */
static int connected(struct watch *watch, int listener, int port)
{
    struct sockaddr_in to = local((uint16_t)port_of(listener)), from = local((uint16_t)port);
    int on = 1;
    setsockopt(watch->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(watch->socket, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(watch->socket, (struct sockaddr *)&to, sizeof to), 0);
    return port_of(watch->socket);
}

static void forget(struct watch *watch)
{
    list_remove(&watch->port_node);
    close(watch->socket);
    free(watch);
}

static int count(struct ports *ports, int port)
{
    int found = 0;
    ports_each(watch, ports, port) found++;
    return found;
}

static void only_those_of_the_port_are_found(void **state)
{
    (void)state;
    static struct ports ports;
    ports_init(&ports);
    int a = listening(), b = listening();
    struct watch *one = opened(&ports), *twin = opened(&ports), *other = opened(&ports);
    assert_int_equal(count(&ports, 0), 0); /* none is connected: none has a port */
    int port = connected(one, a, 0);
    assert_ptr_equal(ports_next(&ports, port, NULL), one);
    assert_null(ports_next(&ports, port, one));
    int another = connected(other, a, 0);
    assert_int_not_equal(another, port);
    connected(twin, b, port); /* one local port, two addresses */
    assert_int_equal(count(&ports, port), 2);
    assert_ptr_equal(ports_next(&ports, another, NULL), other);
    assert_int_equal(count(&ports, another), 1);
    forget(one);
    assert_ptr_equal(ports_next(&ports, port, NULL), twin);
    forget(twin);
    assert_int_equal(count(&ports, port), 0);
    forget(other);
    close(a);
    close(b);
}

/* Ports of one bucket are told apart. */
static void a_bucket_is_not_a_port(void **state)
{
    (void)state;
    static struct ports ports;
    ports_init(&ports);
    int listener = listening();
    struct watch *one = opened(&ports);
    int port = connected(one, listener, 0);
    assert_int_equal(count(&ports, port), 1);
    assert_int_equal(count(&ports, port - PORT_BUCKETS), 0);
    assert_int_equal(count(&ports, port + PORT_BUCKETS), 0);
    forget(one);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_those_of_the_port_are_found),
        cmocka_unit_test(a_bucket_is_not_a_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
