/* The store for recordings on a real directory: what is kept is whole, what fails or is given up
 * leaves nothing, and neither a slow nor a hanging disk is waited for by the loop. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include <cmocka.h>

#include "base/memory.h"
#include "io/store.h"

/* What the linker puts in the place of fsync and write (--wrap). */
int __real_fsync(int fd);
int __wrap_fsync(int fd);
ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: the disk stands still */
static int write_fails, fsync_fails;                     /* errno; 0: they work */
static size_t write_takes;                               /* at most so many bytes; 0: all */

int __wrap_fsync(int fd)
{
    pthread_mutex_lock(&gate);
    int failure = fsync_fails;
    pthread_mutex_unlock(&gate);
    errno = failure;
    return failure ? -1 : __real_fsync(fd);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    pthread_mutex_lock(&gate);
    int failure = write_fails;
    size_t most = write_takes && write_takes < n ? write_takes : n;
    pthread_mutex_unlock(&gate);
    errno = failure;
    return failure ? -1 : __real_write(fd, bytes, most);
}

struct bench {
    uv_loop_t loop;
    char directory[64];
    struct store *store;
    struct store_file *file;
    int kept, rooms;
    char why[120]; /* of the last one that was not kept */
};

static void on_room(void *argument)
{
    ((struct bench *)argument)->rooms++;
}

static void on_kept(void *argument, const char *why)
{
    struct bench *bench = argument;
    bench->kept++;
    snprintf(bench->why, sizeof bench->why, "%s", why ? why : "");
}

static const struct store_events events = {.room = on_room, .kept = on_kept};

static void open_store(struct bench *bench)
{
    struct error error;
    bench->store = store_new(&bench->loop, bench->directory, "w-1", &events, &error);
    assert_non_null(bench->store);
}

static int set_up(void **state)
{
    struct bench *bench = memory_zeroed(1, sizeof *bench);
    strcpy(bench->directory, "/tmp/privacy-call-store-XXXXXX");
    uv_loop_init(&bench->loop);
    *state = bench;
    write_fails = fsync_fails = 0;
    write_takes = 0;
    return mkdtemp(bench->directory) ? 0 : -1;
}

static void path_in(const struct bench *bench, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", bench->directory, name);
}

/* How many files the directory has, hidden ones included; removes them when asked. */
static int count_files(const struct bench *bench, bool remove_them)
{
    DIR *directory = opendir(bench->directory);
    const struct dirent *entry;
    int files = 0;
    assert_non_null(directory);
    while ((entry = readdir(directory))) {
        char path[512];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        files++;
        path_in(bench, entry->d_name, path);
        if (remove_them)
            unlink(path);
    }
    closedir(directory);
    return files;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    store_free(bench->store);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&bench->loop);
    if (access(bench->directory, F_OK) == 0)
        count_files(bench, true);
    rmdir(bench->directory);
    free(bench);
    return rc;
}

static void run(struct bench *bench)
{
    uv_run(&bench->loop, UV_RUN_DEFAULT);
}

static void holds(const struct bench *bench, const char *name, const char *bytes, size_t n)
{
    char path[512], *found = memory_zeroed(1, n + 1);
    path_in(bench, name, path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(found, 1, n + 1, file), n);
    fclose(file);
    assert_memory_equal(found, bytes, n);
    free(found);
}

static void put(const struct bench *bench, const char *name, int age_seconds)
{
    char path[512];
    path_in(bench, name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    struct utimbuf times = {time(NULL) - age_seconds, time(NULL) - age_seconds};
    assert_int_equal(utime(path, &times), 0);
}

static void add(struct bench *bench, const char *bytes)
{
    if (!bench->file)
        bench->file = store_open(bench->store, bench);
    assert_int_equal(store_write(bench->file, bytes, strlen(bytes)), STORE_TAKEN);
}

static void keep(struct bench *bench, const char *name)
{
    store_keep(bench->file, name);
    bench->file = NULL;
}

static void a_file_is_kept(void **state)
{
    struct bench *bench = *state;
    struct text uri = {0};
    open_store(bench);
    write_takes = 2; /* a write may be short */
    add(bench, "RIFF");
    run(bench);
    assert_int_equal(count_files(bench, false), 1); /* aside */
    assert_int_equal(bench->kept, 0);
    add(bench, "more");
    keep(bench, "id-1.wav");
    run(bench);
    assert_int_equal(bench->kept, 1);
    assert_string_equal(bench->why, "");
    holds(bench, "id-1.wav", "RIFFmore", 8);
    assert_int_equal(count_files(bench, false), 1);
    store_uri(bench->store, "id-1.wav", &uri);
    char expected[600];
    snprintf(expected, sizeof expected, "file://%s/id-1.wav", bench->directory);
    assert_string_equal(uri.data, expected);
    text_fini(&uri);
}

static void two_of_one_name(void **state)
{
    struct bench *bench = *state;
    open_store(bench);
    struct store_file *first = store_open(bench->store, bench),
                      *second = store_open(bench->store, bench);
    assert_int_equal(store_write(first, "first", 5), STORE_TAKEN);
    assert_int_equal(store_write(second, "second", 6), STORE_TAKEN);
    store_keep(second, "id");
    run(bench);
    store_keep(first, "id"); /* the later one counts, whole */
    run(bench);
    assert_int_equal(bench->kept, 2);
    holds(bench, "id", "first", 5);
    assert_int_equal(count_files(bench, false), 1);
}

static void what_is_dropped_leaves_nothing(void **state)
{
    struct bench *bench = *state;
    open_store(bench);
    add(bench, "some");
    run(bench);
    store_drop(bench->file);
    bench->file = NULL;
    add(bench, "while it is written");
    store_drop(bench->file);
    bench->file = NULL;
    add(bench, "while it is kept");
    struct store_file *file = bench->file;
    keep(bench, "id");
    store_drop(file);
    store_drop(store_open(bench->store, bench)); /* nothing was ever written */
    store_drop(NULL);
    run(bench);
    assert_int_equal(bench->kept, 0);
    assert_int_equal(bench->rooms, 0);
    int files = count_files(bench, false);
    char path[512];
    path_in(bench, "id", path);
    assert_int_equal(files, access(path, F_OK) == 0); /* it may have got its name, whole */
    if (files)
        holds(bench, "id", "while it is kept", 16);
}

static void a_full_disk(void **state)
{
    struct bench *bench = *state;
    open_store(bench);
    write_fails = ENOSPC;
    add(bench, "some");
    run(bench);
    assert_int_equal(store_write(bench->file, "more", 4), STORE_FAILED);
    assert_string_equal(store_why(bench->file),
                        "writing to recording.store: No space left on device");
    store_drop(bench->file);
    bench->file = NULL;
    add(bench, "some");
    keep(bench, "id"); /* before it is known */
    run(bench);
    assert_int_equal(bench->kept, 1);
    assert_string_equal(bench->why, "writing to recording.store: No space left on device");
    write_fails = 0;
    fsync_fails = EDQUOT;
    add(bench, "some");
    keep(bench, "id");
    run(bench);
    assert_int_equal(bench->kept, 2);
    assert_string_equal(bench->why, "syncing a file of recording.store: Disk quota exceeded");
    assert_int_equal(count_files(bench, false), 0);
    fsync_fails = 0;
    add(bench, "some");
    keep(bench, "id");
    run(bench);
    assert_string_equal(bench->why, "");
    holds(bench, "id", "some", 4);
}

static void a_directory_that_is_gone(void **state)
{
    struct bench *bench = *state;
    open_store(bench);
    add(bench, "aside");
    run(bench);
    count_files(bench, true);
    assert_int_equal(rmdir(bench->directory), 0);
    keep(bench, "id");
    run(bench);
    assert_string_equal(bench->why,
                        "renaming a file of recording.store: No such file or directory");
    add(bench, "some");
    keep(bench, "id");
    run(bench);
    assert_string_equal(bench->why,
                        "creating a file in recording.store: No such file or directory");
    assert_int_equal(mkdir(bench->directory, 0700), 0);
    add(bench, "some");
    keep(bench, "id");
    run(bench);
    assert_string_equal(bench->why, "");
}

/* What waits for the disk is bounded; the loop goes on. */
static void a_slow_disk(void **state)
{
    struct bench *bench = *state;
    static char bytes[64 * 1024];
    memset(bytes, 'x', sizeof bytes);
    open_store(bench);
    bench->file = store_open(bench->store, bench);
    pthread_mutex_lock(&gate);
    int taken = 0;
    while (store_write(bench->file, bytes, sizeof bytes) == STORE_TAKEN)
        assert_true(++taken < 16);
    assert_int_equal(bench->rooms, 0);
    assert_true(store_is_busy(bench->store));
    pthread_mutex_unlock(&gate);
    while (!bench->rooms)
        uv_run(&bench->loop, UV_RUN_ONCE);
    assert_int_equal(store_write(bench->file, bytes, sizeof bytes), STORE_TAKEN);
    keep(bench, "id");
    run(bench);
    assert_int_equal(bench->rooms, 1);
    char path[512];
    struct stat status;
    path_in(bench, "id", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, (taken + 1) * (int)sizeof bytes);
}

/* Room is told when a write fails, too: who waits must learn it. */
static void a_slow_disk_that_fails(void **state)
{
    struct bench *bench = *state;
    static char bytes[64 * 1024];
    open_store(bench);
    bench->file = store_open(bench->store, bench);
    pthread_mutex_lock(&gate);
    while (store_write(bench->file, bytes, sizeof bytes) == STORE_TAKEN)
        ;
    write_fails = EIO;
    pthread_mutex_unlock(&gate);
    while (!bench->rooms)
        uv_run(&bench->loop, UV_RUN_ONCE);
    run(bench);
    assert_int_equal(store_write(bench->file, bytes, sizeof bytes), STORE_FAILED);
    store_drop(bench->file);
    run(bench);
    assert_int_equal(count_files(bench, false), 0);
}

/* Nothing piles up behind a disk that hangs. */
static void a_disk_that_hangs(void **state)
{
    struct bench *bench = *state;
    open_store(bench);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < 100; i++) {
        struct store_file *file = store_open(bench->store, bench);
        assert_int_equal(store_write(file, "some", 4), STORE_TAKEN);
        store_drop(file);
    }
    uv_run(&bench->loop, UV_RUN_NOWAIT);
    assert_true(count_files(bench, false) <= 16); /* as many as the pool has threads, at most */
    pthread_mutex_unlock(&gate);
    run(bench);
    assert_int_equal(count_files(bench, false), 0);
    add(bench, "some");
    keep(bench, "id");
    run(bench);
    assert_string_equal(bench->why, "");
}

static void on_elsewhere(uv_work_t *work)
{
    (void)work;
}

static void after_elsewhere(uv_work_t *work, int status)
{
    *(bool *)work->data = status == 0;
}

static void on_give_up(uv_timer_t *timer)
{
    (void)timer; /* it is not active any more */
}

/* Other work of the pool is done while many files wait for the disk. */
static void a_disk_that_hangs_leaves_the_pool_a_thread(void **state)
{
    enum { FILES = 8 };
    struct bench *bench = *state;
    struct store_file *files[FILES];
    bool done = false;
    uv_work_t elsewhere = {.data = &done};
    uv_timer_t give_up;
    open_store(bench);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < FILES; i++) {
        files[i] = store_open(bench->store, bench);
        assert_int_equal(store_write(files[i], "a", 1), STORE_TAKEN);
    }
    uv_queue_work(&bench->loop, &elsewhere, on_elsewhere, after_elsewhere);
    uv_timer_init(&bench->loop, &give_up);
    uv_timer_start(&give_up, on_give_up, 5000, 0);
    while (!done && uv_is_active((uv_handle_t *)&give_up))
        uv_run(&bench->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&give_up, NULL);
    bool in_time = done;
    for (int i = 0; i < FILES / 2; i++) /* some of which wait for a thread */
        store_drop(files[FILES - 1 - i]);
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < FILES / 2; i++)
        store_keep(files[i], i ? "b" : "a");
    run(bench);
    assert_true(in_time);
    assert_int_equal(bench->kept, FILES / 2);
    assert_string_equal(bench->why, "");
    assert_int_equal(count_files(bench, true), 2);
    assert_false(store_is_busy(bench->store));
}

static void the_start_removes_leftovers(void **state)
{
    struct bench *bench = *state;
    static const char *const ours[] = {".w-1.0.part", ".w-1.99.part", ".other.7.part"};
    static const char *const others[] = {".w-1.1.1.part", ".w-2.0.part",  ".w-1.part",
                                         ".w-1.x.part",   ".w-1.1.par",   "w-1.0.part",
                                         "id-1.wav",      ".other.8.part"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        put(bench, ours[i], i == 2 ? 3 * 86400 : 0); /* old enough to be nobody's */
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        put(bench, others[i], i == 6 ? 3 * 86400 : 3600);
    open_store(bench);
    assert_int_equal(count_files(bench, false), sizeof others / sizeof *others);
    char path[512];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        path_in(bench, others[i], path);
        assert_int_equal(access(path, F_OK), 0);
    }
}

static void names_of_directories(void **state)
{
    struct bench *bench = *state;
    struct error error;
    struct text uri = {0};
    char odd[600];
    snprintf(odd, sizeof odd, "%s/a b%%c", bench->directory);
    assert_int_equal(mkdir(odd, 0700), 0);
    strcat(odd, "//");
    bench->store = store_new(&bench->loop, odd, "w-1", &events, &error);
    assert_non_null(bench->store);
    store_uri(bench->store, "id", &uri);
    assert_non_null(strstr(uri.data, "/a%20b%25c/id"));
    text_fini(&uri);
    assert_int_equal(rmdir(odd), 0);
    assert_null(store_new(&bench->loop, odd, "w-1", &events, &error));
    assert_non_null(strstr(error.text, "recording.store"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_kept),
        TEST(two_of_one_name),
        TEST(what_is_dropped_leaves_nothing),
        TEST(a_full_disk),
        TEST(a_directory_that_is_gone),
        TEST(a_slow_disk),
        TEST(a_slow_disk_that_fails),
        TEST(a_disk_that_hangs),
        TEST(a_disk_that_hangs_leaves_the_pool_a_thread),
        TEST(the_start_removes_leftovers),
        TEST(names_of_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
