/* The store for recordings: a directory into which files are copied as they arrive. A file is
 * written aside (.<instance>.<number>.part), synced, and only then renamed, so that whatever stands
 * under a recording's name is whole, whichever process or machine died. The file work runs on
 * libuv's pool, so that a slow disk holds nobody up but its own files; all functions and events are
 * the loop thread's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"

struct store;
struct store_file;

struct store_events {
    /* There is room again, or the file has failed: a store_write that was refused may be made. */
    void (*room)(void *argument);
    /* The file that was to be kept is in its place, or is gone (why; NULL: kept). */
    void (*kept)(void *argument, const char *why);
};

/* Opens the store and removes what an earlier process of this instance left unfinished. The loop
 * must outlive it. NULL on failure. */
struct store *store_new(uv_loop_t *loop, const char *directory, const char *instance,
                        const struct store_events *events, struct error *error);

/* A new file; the argument is the events'. It ends by store_keep or store_drop. */
struct store_file *store_open(struct store *store, void *argument);

enum store_taken { STORE_TAKEN, STORE_FULL, STORE_FAILED };

/* Adds bytes, which are copied. STORE_FULL: not now, `room` comes; nothing was taken.
 * STORE_FAILED: store_why says why. */
enum store_taken store_write(struct store_file *file, const char *bytes, size_t n);

/* What failed, in words without a path; lasts until the file ends. */
const char *store_why(const struct store_file *file);

/* Gives the file, as it is, its name; `kept` ends it. */
void store_keep(struct store_file *file, const char *name);

/* Gives it up: nothing stays, no event comes. What the pool has not begun it never will, so that
 * nothing piles up behind a file system that hangs. NULL is fine. */
void store_drop(struct store_file *file);

/* Adds the file:// URI of what is kept under that name. */
void store_uri(const struct store *store, const char *name, struct text *uri);

/* Whether file work is still under way, of files that were dropped too. */
bool store_is_busy(const struct store *store);

/* Ends it; every file must have ended. What is under way is let run out, by the loop. NULL is fine.
 */
void store_free(struct store *store);
