/* The embedded broker seen from the socket: framing, order of answers, and that nothing a client
 * sends can hurt it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kafka_client.h"
#include "sandbox/broker/wire/protocol.h"
#include "sandbox/broker/wire/wire.h"

static const struct broker_topic_spec topics[] = {{"one", 1}};

static struct broker *start(void)
{
    return start_broker((struct broker_options){.topics = topics, .topic_count = 1});
}

static int dial(const struct broker *broker)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    const char *colon = strrchr(broker_address(broker), ':');
    name.sin_port = htons((uint16_t)atoi(colon + 1));
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    struct timeval patience = {DEADLINE_MS / 1000, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static struct broker_out request(int16_t api, int16_t version, int32_t correlation)
{
    struct broker_out out = {0};
    broker_put_later(&out);
    broker_put_i16(&out, api);
    broker_put_i16(&out, version);
    broker_put_i32(&out, correlation);
    broker_put_string(&out, broker_slice_of("test"));
    return out;
}

/* Sends it, or does not when the broker has closed the connection already. */
static bool send_request(int fd, struct broker_out *out)
{
    broker_put_now(out, 0, (int32_t)(out->text.length - 4));
    bool sent =
        send(fd, out->text.data, out->text.length, MSG_NOSIGNAL) == (ssize_t)out->text.length;
    text_fini(&out->text);
    return sent;
}

/* With a time-out set, a process that was stopped and goes on sees the call end early. */
static bool read_exactly(int fd, void *into, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t more = recv(fd, (char *)into + got, n - got, MSG_WAITALL);
        if (more == 0 || (more < 0 && errno != EINTR))
            return false;
        got += more > 0 ? (size_t)more : 0;
    }
    return true;
}

/* The next answer's correlation id; -1 when the connection was closed. */
static int32_t read_answer(int fd)
{
    uint8_t head[8];
    if (!read_exactly(fd, head, sizeof(head)))
        return -1;
    size_t rest = broker_load(head, 4) - 4;
    char *body = malloc(rest + 1);
    assert_true(read_exactly(fd, body, rest));
    free(body);
    return (int32_t)broker_load(head + 4, 4);
}

static void expect_alive(const struct broker *broker)
{
    int fd = dial(broker);
    struct broker_out out = request(API_VERSIONS, 0, 77);
    assert_true(send_request(fd, &out));
    assert_int_equal(read_answer(fd), 77);
    close(fd);
}

static void requests_may_come_in_pieces_and_in_heaps(void **state)
{
    (void)state;
    struct broker *broker = start();
    int fd = dial(broker), yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    struct broker_out heap = {0};
    for (int i = 0; i < 3; i++) {
        struct broker_out one = request(API_VERSIONS, (int16_t)i, 100 + i);
        broker_put_now(&one, 0, (int32_t)(one.text.length - 4));
        text_append(&heap.text, one.text.data, one.text.length);
        text_fini(&one.text);
    }
    for (size_t i = 0; i < 30; i++)
        assert_int_equal(send(fd, heap.text.data + i, 1, MSG_NOSIGNAL), 1);
    size_t rest = heap.text.length - 30;
    assert_int_equal(send(fd, heap.text.data + 30, rest, MSG_NOSIGNAL), rest);
    text_fini(&heap.text);
    for (int i = 0; i < 3; i++)
        assert_int_equal(read_answer(fd), 100 + i);
    close(fd);
    broker_free(broker);
}

static struct broker_out fetch(int32_t correlation, int32_t wait_ms)
{
    struct broker_out out = request(API_FETCH, 11, correlation);
    broker_put_i32(&out, -1);
    broker_put_i32(&out, wait_ms);
    broker_put_i32(&out, 1);
    broker_put_i32(&out, 1000000);
    broker_put_i8(&out, 0);
    broker_put_i64(&out, -1);
    broker_put_array(&out, 1);
    broker_put_string(&out, broker_slice_of("one"));
    broker_put_array(&out, 1);
    broker_put_i32(&out, 0);
    broker_put_i32(&out, -1);
    broker_put_i64(&out, 0);
    broker_put_i64(&out, -1);
    broker_put_i32(&out, 1000000);
    return out;
}

/* A fetch that waits for an hour is answered when the client asks for something else, and answers
 * keep their order. */
static void a_request_behind_a_waiting_fetch_ends_it(void **state)
{
    (void)state;
    struct broker *broker = start();
    int fd = dial(broker);
    struct broker_out first = fetch(1, 3600000), second = request(API_VERSIONS, 0, 2);
    assert_true(send_request(fd, &first));
    assert_true(send_request(fd, &second));
    assert_int_equal(read_answer(fd), 1);
    assert_int_equal(read_answer(fd), 2);
    close(fd);
    broker_free(broker);
}

static void a_fetch_waits_no_longer_than_asked(void **state)
{
    (void)state;
    struct broker *broker = start();
    int fd = dial(broker);
    struct broker_out out = fetch(1, 300);
    assert_true(send_request(fd, &out));
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 100), 0);
    assert_int_equal(read_answer(fd), 1);
    close(fd);
    broker_free(broker);
}

static void a_client_may_vanish_while_it_waits(void **state)
{
    (void)state;
    struct broker *broker = start();
    int fd = dial(broker);
    struct broker_out out = fetch(1, 3600000);
    assert_true(send_request(fd, &out));
    close(fd);
    rd_kafka_t *producer = client_new(RD_KAFKA_PRODUCER, broker, "");
    produce(producer, "one", 0, NULL, "v");
    flush(producer);
    rd_kafka_destroy(producer);
    broker_free(broker);
}

static void join(int fd, int32_t correlation)
{
    struct broker_out out = request(API_JOIN_GROUP, 5, correlation);
    broker_put_string(&out, broker_slice_of("g"));
    broker_put_i32(&out, 60000);
    broker_put_i32(&out, 60000);
    broker_put_string(&out, broker_slice_of(""));
    broker_put_string(&out, broker_slice_of(NULL));
    broker_put_string(&out, broker_slice_of("consumer"));
    broker_put_array(&out, 1);
    broker_put_string(&out, broker_slice_of("range"));
    broker_put_bytes(&out, broker_slice_of(""));
    assert_true(send_request(fd, &out));
}

static int members_of_g(int fd)
{
    struct broker_out out = request(API_DESCRIBE_GROUPS, 0, 1);
    broker_put_array(&out, 1);
    broker_put_string(&out, broker_slice_of("g"));
    assert_true(send_request(fd, &out));
    uint8_t head[4], body[1000];
    assert_true(read_exactly(fd, head, sizeof(head)));
    size_t size = broker_load(head, 4);
    assert_in_range(size, 4, sizeof(body));
    assert_true(read_exactly(fd, body, size));
    struct broker_in in = {.at = body + 4, .end = body + size};
    assert_int_equal(broker_get_array(&in), 1);
    assert_int_equal(broker_get_i16(&in), CODE_NONE);
    for (int i = 0; i < 4; i++) /* name, state, protocol's type and name */
        broker_get_string(&in);
    return broker_get_array(&in);
}

static void await_members_of_g(int fd, int count)
{
    int64_t until = clock_boot_ms() + DEADLINE_MS;
    while (members_of_g(fd) != count)
        assert_true(clock_boot_ms() < until);
}

/* Who does not know its id yet comes back as another one: what it left would get partitions. */
static void who_vanishes_before_it_knows_its_id_is_no_member(void **state)
{
    (void)state;
    struct broker *broker = start();
    int first = dial(broker), second = dial(broker), observer = dial(broker);
    join(first, 1);
    assert_int_equal(read_answer(first), 1);
    join(second, 2); /* waits for the first to join again */
    await_members_of_g(observer, 2);
    close(second);
    await_members_of_g(observer, 1);
    close(first);
    close(observer);
    broker_free(broker);
}

static void what_makes_no_sense_closes_the_connection(void **state)
{
    (void)state;
    struct broker *broker = start();
    static const struct {
        int16_t api, version;
    } senseless[] = {
        {999, 0}, {API_FETCH, 99}, {API_FETCH, -1}, {API_PRODUCE, 3}, {API_METADATA, 4}};
    for (size_t i = 0; i < sizeof(senseless) / sizeof(*senseless); i++) {
        int fd = dial(broker);
        struct broker_out out = request(senseless[i].api, senseless[i].version, 1);
        send_request(fd, &out);
        assert_int_equal(read_answer(fd), -1);
        close(fd);
    }
    int fd = dial(broker);
    assert_int_equal(send(fd, "\x7f\xff\xff\xff", 4, MSG_NOSIGNAL), 4);
    assert_int_equal(read_answer(fd), -1);
    close(fd);
    expect_alive(broker);
    broker_free(broker);
}

/* A client newer than the broker asks for a version of ApiVersions that does not exist yet, and
 * learns which do. */
static void newer_clients_learn_the_versions(void **state)
{
    (void)state;
    struct broker *broker = start();
    int fd = dial(broker);
    struct broker_out out = request(API_VERSIONS, 42, 5);
    assert_true(send_request(fd, &out));
    uint8_t head[10];
    assert_true(read_exactly(fd, head, sizeof(head)));
    assert_int_equal(broker_load(head + 4, 4), 5);
    assert_int_equal(broker_load(head + 8, 2), CODE_UNSUPPORTED_VERSION);
    close(fd);
    broker_free(broker);
}

/* Bodies of small numbers, names that exist and noise: they often get far into a request. */
static void put_noise(struct broker_out *out, unsigned *seed)
{
    static const char *const names[] = {"one", "g", "t", "consumer", ""};
    for (int n = rand_r(seed) % 14; n > 0; n--) {
        int pick = rand_r(seed) % 8, value = rand_r(seed) % 4 - 1;
        if (pick < 2)
            broker_put_string(out, broker_slice_of(names[rand_r(seed) % 5]));
        else if (pick == 2)
            broker_put_i16(out, (int16_t)value);
        else if (pick == 3)
            broker_put_i64(out, value);
        else if (pick == 4)
            broker_put_i8(out, (int8_t)rand_r(seed));
        else if (pick == 5)
            broker_put_i32(out, 10000);
        else
            broker_put_i32(out, value);
    }
}

static void noise_does_no_harm(void **state)
{
    (void)state;
    static const struct {
        int16_t key, version;
    } apis[] = {{0, 7},  {1, 11}, {2, 2},  {3, 4},  {8, 7},  {9, 7},  {10, 2},
                {11, 5}, {12, 3}, {13, 1}, {14, 3}, {15, 0}, {16, 0}, {18, 3},
                {22, 4}, {24, 0}, {25, 0}, {26, 1}, {28, 3}};
    struct broker *broker = start();
    unsigned seed = 20261124;
    for (int round = 0; round < 3000; round++) {
        int fd = dial(broker);
        size_t pick = rand_r(&seed) % (sizeof(apis) / sizeof(*apis));
        struct broker_out out = request(apis[pick].key, apis[pick].version, round);
        put_noise(&out, &seed);
        send_request(fd, &out);
        close(fd);
    }
    expect_alive(broker);
    broker_free(broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_may_come_in_pieces_and_in_heaps),
        cmocka_unit_test(a_request_behind_a_waiting_fetch_ends_it),
        cmocka_unit_test(a_fetch_waits_no_longer_than_asked),
        cmocka_unit_test(a_client_may_vanish_while_it_waits),
        cmocka_unit_test(who_vanishes_before_it_knows_its_id_is_no_member),
        cmocka_unit_test(what_makes_no_sense_closes_the_connection),
        cmocka_unit_test(newer_clients_learn_the_versions),
        cmocka_unit_test(noise_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
