/* The store for recordings: a directory into which files are copied as they arrive. A file is
 * written under a temporary name (.<instance>.<number>.part), synced, and then renamed, so that a
 * file under a recording's name is always complete, whichever process or machine died. The file
 * work runs on libuv's pool, so that a slow disk delays only its own files. All functions and
 * events belong to the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"

struct store;
struct store_file;

struct store_events {
    /* There is room again, or the file has failed: a refused store_write may be repeated. */
    void (*room)(void *argument);
    /* store_keep has ended: the file has its name (why NULL), or is gone (why: the reason). */
    void (*kept)(void *argument, const char *why);
};

/* Opens the store and removes unfinished files of an earlier process of this instance. The loop
 * must outlive the store. NULL on failure. */
struct store *store_new(uv_loop_t *loop, const char *directory, const char *instance,
                        const struct store_events *events, struct error *error);

/* Opens a new file. The events get the argument. The caller ends the file with store_keep or
 * store_drop. */
struct store_file *store_open(struct store *store, void *argument);

enum store_taken { STORE_TAKEN, STORE_FULL, STORE_FAILED };

/* Adds bytes, which are copied. STORE_FULL: not now, nothing was taken, and `room` follows.
 * STORE_FAILED: store_why says why. */
enum store_taken store_write(struct store_file *file, const char *bytes, size_t n);

/* What failed, as a text without a path; valid until the file ends. */
const char *store_why(const struct store_file *file);

/* Renames the file as it is. `kept` reports the end. */
void store_keep(struct store_file *file, const char *name);

/* Gives the file up: nothing of it stays, and no event follows. Work that the pool has not begun is
 * cancelled, so that nothing piles up behind a hanging file system. file may be NULL. */
void store_drop(struct store_file *file);

/* Adds the file:// URI of the file with that name. */
void store_uri(const struct store *store, const char *name, struct text *uri);

/* Whether file work is still running, also of dropped files. */
bool store_is_busy(const struct store *store);

/* Closes the store. Every file must have ended. Running work ends on the loop. store may be
 * NULL. */
void store_free(struct store *store);
