/* Files that Kafka's clients take something from: what is new comes into force, what is no use does
 * not. No broker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/process_usage.h"
#include "core/config.h"
#include "io/kafka.h"

static const char certificate[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBdTCCARugAwIBAgIUZSdcOTllrO0wFTSXZoy+Jt1WKZQwCgYIKoZIzj0EAwIw\n"
    "DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjkwMjEyNDJaGA8yMTI2MTEwNTAyMTI0\n"
    "MlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCZD\n"
    "mc/rpKsBjjwishr4OSgNo1cky165MXfZQnox9XjOpYM+Lou/9RXRhGf/4TJoAymA\n"
    "NgS28oPAbDdsofOH86yjUzBRMB0GA1UdDgQWBBTGsdZ1XYtQzyx/59ajqbCbOymU\n"
    "sTAfBgNVHSMEGDAWgBTGsdZ1XYtQzyx/59ajqbCbOymUsTAPBgNVHRMBAf8EBTAD\n"
    "AQH/MAoGCCqGSM49BAMCA0gAMEUCIGrRVs0Xk8KexkLI7C90EhrxdRdUXVzxN9Xf\n"
    "PWugD9K8AiEA4ZpVFT/FXCjU77KLh30GUsge94c3o0cV8BMVO6clUOQ=\n"
    "-----END CERTIFICATE-----\n";

static char folder[] = "/tmp/test-kafka-files-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[4][96];
    static size_t at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", folder, name);
    return path[at];
}

/* In one step, as another file: sizes and times may be the same. */
static void put(const char *name, const char *text)
{
    FILE *file = fopen(path_of("aside"), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
    assert_int_equal(rename(path_of("aside"), path_of(name)), 0);
}

static struct config config_of(const char *const *options, size_t count)
{
    const char *all[12] = {"platform.url=https://127.0.0.1:1", "platform.token=t",
                           "platform.app.id=a", "kafka.bootstrap.servers=127.0.0.1:1"};
    char *environment[] = {NULL};
    struct config config;
    struct text errors = {0};
    for (size_t i = 0; i < count; i++)
        all[4 + i] = options[i];
    const struct config_input input = {
        .options = all, .option_count = 4 + count, .environment = environment};
    if (config_load(&config, &input, &errors))
        fail_msg("%s", errors.data);
    text_fini(&errors);
    return config;
}

/* With a password and an authority, in files of these names. */
static struct config config_with_files(const char *password_name, const char *authority_name)
{
    char password[128], authority[128];
    put(password_name, "one-secret");
    put(authority_name, certificate);
    snprintf(password, sizeof password, "kafka.sasl.password.file=%s", path_of(password_name));
    snprintf(authority, sizeof authority, "kafka.ssl.ca.location=%s", path_of(authority_name));
    const char *options[] = {"kafka.security.protocol=sasl_ssl", "kafka.sasl.mechanism=PLAIN",
                             "kafka.sasl.username=u", password, authority};
    return config_of(options, 5);
}

/* What a look finds, and the error of that look alone. */
static struct error error;

static const char *look(struct kafka_files *files, bool all)
{
    error.text[0] = '\0';
    return kafka_files_look(files, all, &error);
}

static void a_password_is_read_again(void **state)
{
    (void)state;
    char option[128];
    put("password", "one-secret\n");
    snprintf(option, sizeof option, "kafka.sasl.password.file=%s", path_of("password"));
    const char *options[] = {"kafka.security.protocol=sasl_plaintext", "kafka.sasl.mechanism=PLAIN",
                             "kafka.sasl.username=u", option};
    struct config config = config_of(options, 4);
    struct kafka_files *files = kafka_files_new(&config);
    assert_null(look(files, false));
    assert_null(look(files, true));
    assert_string_equal(error.text, "");
    put("password", "two-secret");
    assert_non_null(strstr(look(files, false), "user and password"));
    assert_null(look(files, false));
    put("password", "");
    assert_null(look(files, false));
    assert_non_null(strstr(error.text, "kafka.sasl.password.file: expected a value"));
    unlink(path_of("password"));
    assert_null(look(files, false));
    assert_non_null(strstr(error.text, "kafka.sasl.password.file: expected a readable file"));
    assert_null(strstr(error.text, folder)); /* it might be the secret */
    put("password", "two-secret");
    assert_null(look(files, false)); /* the one that is in force */
    assert_string_equal(error.text, "");
    kafka_files_free(files);
    config_fini(&config);
}

static void both_errors_are_told(void **state)
{
    (void)state;
    struct config config = config_with_files("secret", "authority.pem");
    struct kafka_files *files = kafka_files_new(&config);
    assert_null(look(files, true));
    assert_string_equal(error.text, "");
    put("secret", "");
    put("authority.pem", "-----BEGIN CERTIFICATE-----\nMIIBdTCCARug");
    assert_null(look(files, false));
    assert_non_null(
        strstr(error.text, "kafka.sasl.password.file: expected a value, not an empty file; "));
    assert_non_null(strstr(error.text, "ssl.ca.location"));
    put("secret", "two-secret");
    assert_non_null(strstr(look(files, false), "user and password"));
    assert_non_null(strstr(error.text, "ssl.ca.location"));
    kafka_files_free(files);
    config_fini(&config);
}

static void certificate_is_read_again(const char *option, const char *name, bool is_value)
{
    const char *options[] = {"kafka.security.protocol=ssl", option};
    put(name, certificate);
    struct config config = config_of(options, 2);
    struct kafka_files *files = kafka_files_new(&config);
    assert_null(look(files, true));
    assert_string_equal(error.text, "");
    put(name, "-----BEGIN CERTIFICATE-----\nMIIBdTCCARug");
    assert_null(look(files, false));
    assert_non_null(strstr(error.text, "ssl."));
    put(name, certificate);
    const char *words = look(files, false);
    if (is_value) /* the same one again; of a file of librdkafka's is only known that it changed */
        assert_null(words);
    else
        assert_non_null(strstr(words, "made anew"));
    char text[sizeof certificate + 16];
    snprintf(text, sizeof text, "%s# another\n", certificate);
    put(name, text);
    assert_non_null(strstr(look(files, false), "made anew"));
    assert_null(look(files, false));
    assert_string_equal(error.text, "");
    kafka_files_free(files);
    config_fini(&config);
}

/* What a takeover, a lost session and a fatal error do: they make a client. */
static void make_client(const struct config *config, struct kafka_files *files)
{
    static const struct kafka_handler nobody;
    error.text[0] = '\0';
    struct kafka *kafka = kafka_new(config, REQUEST_CALL, files, &nobody, NULL, &error);
    assert_string_equal(error.text, "");
    assert_non_null(kafka);
    kafka_free(kafka);
}

/* A file that is no use now, whatever became of it, does not stop the making of a client. */
static void clients_are_made_with_the_last_good_files(void **state)
{
    (void)state;
    struct config config = config_with_files("password", "ca");
    struct kafka_files *files = kafka_files_new(&config);
    const char *const broken[] = {"", "-----BEGIN CERTIFICATE-----\nMIIBdTCCARug", "no PEM"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        put("ca", broken[i]);
        make_client(&config, files); /* before anybody has looked */
        assert_null(look(files, false));
        assert_non_null(strstr(error.text, path_of("ca")));
        make_client(&config, files);
        put("ca", certificate);
        assert_non_null(strstr(look(files, false), "made anew"));
        make_client(&config, files);
    }
    unlink(path_of("ca"));
    assert_null(look(files, false));
    assert_non_null(strstr(error.text, path_of("ca")));
    make_client(&config, files);
    kafka_files_free(files);
    config_fini(&config);
}

/* Of all the files that were in force, only the last ones are kept. */
static void files_that_are_replaced_are_released(void **state)
{
    (void)state;
    struct config config = config_with_files("password", "ca");
    struct kafka_files *files = kafka_files_new(&config);
    struct process_usage before, after;
    process_usage_read(&before);
    for (int i = 0; i < 10; i++) {
        put("ca", i % 2 ? certificate : "half");
        (void)look(files, false);
    }
    process_usage_read(&after);
    assert_true(before.open_files > 0);
    assert_int_equal(after.open_files, before.open_files);
    kafka_files_free(files);
    config_fini(&config);
}

/* Copies take memory, which a file without an end must not use up. */
static void a_file_that_is_far_too_large_is_not_copied(void **state)
{
    (void)state;
    struct config config = config_with_files("password", "ca");
    struct process_usage before, after;
    assert_int_equal(truncate(path_of("ca"), (off_t)64 << 20), 0);
    process_usage_read(&before);
    struct kafka_files *files = kafka_files_new(&config);
    process_usage_read(&after);
    assert_true(before.open_files > 0);
    assert_int_equal(after.open_files, before.open_files);
    make_client(&config, files); /* librdkafka reads the file itself */
    put("ca", certificate);
    assert_non_null(strstr(look(files, false), "made anew"));
    process_usage_read(&after);
    assert_int_equal(after.open_files, before.open_files + 1);
    kafka_files_free(files);
    config_fini(&config);
}

/* librdkafka's words name the copy. */
static void errors_name_the_file_itself(void **state)
{
    (void)state;
    char location[128];
    put("keystore", "half");
    snprintf(location, sizeof location, "kafka.ssl.keystore.location=%s", path_of("keystore"));
    const char *options[] = {"kafka.security.protocol=ssl", location,
                             "kafka.ssl.keystore.password=p"};
    struct config config = config_of(options, 3);
    struct kafka_files *files = kafka_files_new(&config);
    assert_null(look(files, true));
    assert_non_null(strstr(error.text, path_of("keystore")));
    assert_null(strstr(error.text, "/proc/"));
    kafka_files_free(files);
    config_fini(&config);
}

/* A certificate that is half written holds nothing else up. */
static void a_password_does_not_wait_for_a_certificate(void **state)
{
    (void)state;
    struct config config = config_with_files("password", "ca");
    struct kafka_files *files = kafka_files_new(&config);
    put("ca", "-----BEGIN CERTIFICATE-----\nMIIBdTCCARug");
    assert_null(look(files, false));
    assert_non_null(strstr(error.text, "ssl."));
    put("password", "two-secret");
    assert_non_null(strstr(look(files, false), "user and password"));
    assert_non_null(strstr(error.text, "ssl."));
    put("password", "");
    put("ca", certificate);
    assert_non_null(strstr(look(files, false), "made anew"));
    assert_non_null(strstr(error.text, "kafka.sasl.password.file: expected a value"));
    put("password", "three-secret");
    assert_non_null(strstr(look(files, false), "user and password"));
    assert_string_equal(error.text, "");
    kafka_files_free(files);
    config_fini(&config);
}

static void certificates_make_new_clients(void **state)
{
    (void)state;
    char location[128], pem[128];
    snprintf(location, sizeof location, "kafka.ssl.ca.location=%s", path_of("ca"));
    snprintf(pem, sizeof pem, "kafka.ssl.ca.pem.file=%s", path_of("pem"));
    certificate_is_read_again(location, "ca", false);
    certificate_is_read_again(pem, "pem", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_is_read_again),
        cmocka_unit_test(both_errors_are_told),
        cmocka_unit_test(a_password_does_not_wait_for_a_certificate),
        cmocka_unit_test(certificates_make_new_clients),
        cmocka_unit_test(clients_are_made_with_the_last_good_files),
        cmocka_unit_test(files_that_are_replaced_are_released),
        cmocka_unit_test(errors_name_the_file_itself),
        cmocka_unit_test(a_file_that_is_far_too_large_is_not_copied),
    };
    if (!mkdtemp(folder))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    static const char *const names[] = {"password",      "ca",      "pem", "secret",
                                        "authority.pem", "keystore"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    rmdir(folder);
    return failed;
}
