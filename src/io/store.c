#include "io/store.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/memory.h"

enum {
    ROOM = 128 * 1024, /* limit of a file's bytes that wait for the disk */
    THREADS = 3, /* of libuv's pool, which has four: the one left reads secrets and certificates
                    again, also while the disk hangs */
    STALE_SECONDS =
        2 * 86400, /* a temporary file that has not been written for longer has no owner */
    FILE_MODE = 0640,
};

struct store {
    uv_loop_t *loop;
    const struct store_events *events;
    char *directory; /* absolute, without a slash at the end */
    char *instance;
    uint64_t next_part; /* random start, so that no two processes share a temporary file, whatever
                           their names */
    size_t files, busy;
    unsigned running;    /* of the busy ones, those that the pool has */
    struct list waiting; /* the others */
    bool closing;
};

/* Ownership: while `working`, the pool owns the members below it, and the loop the others. */
struct store_file {
    struct store *store;
    void *argument;
    struct list node; /* in store.waiting */
    uv_work_t work;
    atomic_uint turns; /* orders the accesses of loop and pool for ThreadSanitizer, which does not
                          see libuv's locks */
    bool working, refused, dropped;
    char *name; /* final name; NULL: the file is not to be kept */
    struct text filling;

    struct text writing;
    char *part;       /* path of the temporary file; NULL: there is none */
    char *final_path; /* to rename it to; NULL: none */
    bool discard;
    int fd;
    char why[120]; /* the first error; empty: none */
};

/* ---- on the pool */

static int fail(struct store_file *file, const char *doing)
{
    snprintf(file->why, sizeof file->why, "%s: %s", doing, strerror(errno));
    return -1;
}

static int open_part(struct store_file *file)
{
    if (file->fd >= 0)
        return 0;
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    file->fd = open(file->part, flags, FILE_MODE);
    if (file->fd >= 0)
        return 0;
    fail(file, "creating a file in recording.store");
    free(file->part); /* the file of that name is not ours, so it is not removed */
    file->part = NULL;
    return -1;
}

static int write_out(struct store_file *file)
{
    const char *at = file->writing.data;
    size_t left = file->writing.length;
    while (left) {
        ssize_t n = write(file->fd, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(file, "writing to recording.store");
        at += n;
        left -= (size_t)n;
    }
    return 0;
}

/* Syncs the directory, so that the file's name survives a crash of the machine. */
static int sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd), saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

static int move_to_final_path(struct store_file *file)
{
    int fd = file->fd;
    if (fsync(fd) < 0)
        return fail(file, "syncing a file of recording.store");
    file->fd = -1;
    if (close(fd) < 0)
        return fail(file, "closing a file of recording.store");
    if (rename(file->part, file->final_path) < 0)
        return fail(file, "renaming a file of recording.store");
    free(file->part);
    file->part = NULL;
    return sync_directory(file->store->directory) < 0 ? fail(file, "syncing recording.store") : 0;
}

static void discard(struct store_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
    if (file->part)
        unlink(file->part);
    free(file->part);
    file->part = NULL;
}

static void work_on(uv_work_t *work)
{
    struct store_file *file = list_of(work, struct store_file, work);
    atomic_load(&file->turns);
    if (!file->discard && !*file->why && open_part(file) == 0 && write_out(file) == 0 &&
        file->final_path)
        move_to_final_path(file);
    if (file->discard || *file->why)
        discard(file);
    atomic_fetch_add(&file->turns, 1);
}

/* ---- on the loop */

static void release(struct store *store)
{
    if (!store->closing || store->busy)
        return;
    free(store->directory);
    free(store->instance);
    free(store);
}

static void file_free(struct store_file *file)
{
    text_fini(&file->filling);
    text_fini(&file->writing);
    free(file->part);
    free(file->final_path);
    free(file->name);
    free(file);
}

static void go_on(struct store_file *file);
static void give_to_pool(struct store *store);

static void after_drop(struct store_file *file)
{
    if (!file->discard && file->part && file->fd >= 0) {
        go_on(file);
        return;
    }
    file_free(file);
}

static void after_work(uv_work_t *work, int status)
{
    (void)status; /* only dropped work is ever cancelled */
    struct store_file *file = list_of(work, struct store_file, work);
    struct store *store = file->store;
    atomic_load(&file->turns);
    file->working = false;
    store->busy--;
    store->running--;
    text_clear(&file->writing);
    if (file->dropped) {
        after_drop(file);
    } else if (file->name && (file->final_path || *file->why)) {
        store->files--;
        store->events->kept(file->argument, *file->why ? file->why : NULL);
        file_free(file);
    } else {
        if (*file->why)
            text_clear(&file->filling);
        if (file->filling.length || file->name)
            go_on(file);
        if (file->refused) {
            file->refused = false;
            store->events->room(file->argument);
        }
    }
    give_to_pool(store);
    release(store);
}

static void give_to_pool(struct store *store)
{
    while (store->running < THREADS && !list_empty(&store->waiting)) {
        struct store_file *file =
            list_of(list_take_first(&store->waiting), struct store_file, node);
        store->running++;
        uv_queue_work(store->loop, &file->work, work_on, after_work);
    }
}

/* Begins pending work. The pool has none of this file now. */
static void go_on(struct store_file *file)
{
    struct text empty = file->writing;
    assert(!file->working);
    file->writing = file->filling;
    file->filling = empty;
    file->discard = file->dropped;
    if (file->name && !file->dropped) {
        struct text final_path = {0};
        text_printf(&final_path, "%s/%s", file->store->directory, file->name);
        file->final_path = text_take(&final_path);
    }
    file->working = true;
    file->store->busy++;
    atomic_fetch_add(&file->turns, 1);
    list_append(&file->store->waiting, &file->node);
    give_to_pool(file->store);
}

struct store_file *store_open(struct store *store, void *argument)
{
    struct store_file *file = memory_zeroed(1, sizeof *file);
    struct text part = {0};
    text_printf(&part, "%s/.%s.%" PRIu64 ".part", store->directory, store->instance,
                store->next_part++);
    file->store = store;
    file->argument = argument;
    list_init(&file->node);
    file->part = text_take(&part);
    file->fd = -1;
    store->files++;
    return file;
}

enum store_taken store_write(struct store_file *file, const char *bytes, size_t n)
{
    if (!file->working && *file->why)
        return STORE_FAILED;
    if (file->filling.length >= ROOM) {
        file->refused = true;
        return STORE_FULL;
    }
    text_append(&file->filling, bytes, n);
    if (!file->working)
        go_on(file);
    return STORE_TAKEN;
}

const char *store_why(const struct store_file *file)
{
    return file->why;
}

void store_keep(struct store_file *file, const char *name)
{
    file->name = memory_string(name);
    file->refused = false;
    if (!file->working)
        go_on(file);
}

void store_drop(struct store_file *file)
{
    if (!file)
        return;
    file->dropped = true;
    file->store->files--;
    text_fini(&file->filling);
    if (list_linked(&file->node)) { /* the pool has not got it */
        list_remove(&file->node);
        file->working = false;
        file->store->busy--;
    }
    if (file->working)
        uv_cancel((uv_req_t *)&file->work); /* work that has begun goes on */
    else if (file->fd >= 0)
        go_on(file);
    else
        after_drop(file);
}

void store_uri(const struct store *store, const char *name, struct text *uri)
{
    text_add(uri, "file://");
    for (const char *at = store->directory; *at; at++) {
        if (isalnum((unsigned char)*at) || strchr("/-._~", *at))
            text_append(uri, at, 1);
        else
            text_printf(uri, "%%%02X", (unsigned char)*at);
    }
    text_printf(uri, "/%s", name);
}

bool store_is_busy(const struct store *store)
{
    return store->busy > 0;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    assert(store->files == 0);
    store->closing = true;
    release(store);
}

/* ---- the start */

/* The length of the instance in .<instance>.<number>.part; 0: another name. */
static size_t instance_in(const char *name)
{
    static const char suffix[] = ".part";
    size_t n = strlen(name), tail = sizeof suffix - 1;
    if (n <= tail || name[0] != '.' || strcmp(name + n - tail, suffix) != 0)
        return 0;
    size_t at = n - tail, end = at;
    while (at > 0 && isdigit((unsigned char)name[at - 1]))
        at--;
    return at < end && at > 2 && name[at - 1] == '.' ? at - 2 : 0;
}

static bool is_leftover(const struct store *store, const char *path, const char *name)
{
    size_t n = instance_in(name);
    struct stat status;
    if (!n || lstat(path, &status) < 0)
        return false;
    if (strlen(store->instance) == n && !memcmp(store->instance, name + 1, n))
        return true;
    return status.st_mtime < time(NULL) - STALE_SECONDS;
}

static int remove_leftovers(const struct store *store, struct error *error)
{
    const struct dirent *entry;
    DIR *directory = opendir(store->directory);
    if (!directory)
        return error_set(error, "recording.store: cannot read the directory: %s", strerror(errno));
    while ((entry = readdir(directory))) {
        struct text path = {0};
        text_printf(&path, "%s/%s", store->directory, entry->d_name);
        if (is_leftover(store, path.data, entry->d_name))
            unlink(path.data);
        text_fini(&path);
    }
    closedir(directory);
    return 0;
}

/* Makes the path absolute. Symbolic links stay, so that the store moves with the link. */
static char *absolute(const char *directory)
{
    struct text path = {0};
    char *here = *directory == '/' ? NULL : get_current_dir_name();
    if (here)
        text_printf(&path, "%s/", here);
    free(here);
    text_add(&path, directory);
    while (path.length > 1 && path.data[path.length - 1] == '/')
        path.data[--path.length] = '\0';
    return text_take(&path);
}

struct store *store_new(uv_loop_t *loop, const char *directory, const char *instance,
                        const struct store_events *events, struct error *error)
{
    struct store *store = memory_zeroed(1, sizeof *store);
    store->loop = loop;
    store->events = events;
    list_init(&store->waiting);
    store->directory = absolute(directory);
    store->instance = memory_string(instance);
    if (uv_random(NULL, NULL, &store->next_part, sizeof store->next_part, 0, NULL))
        store->next_part = uv_hrtime();
    if (remove_leftovers(store, error) == 0)
        return store;
    store_free(store);
    return NULL;
}
