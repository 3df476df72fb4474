/* Whether a file has changed since the last look at it. Links are followed. No thread safety. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What differs between two states of a file. */
struct file_state {
    int64_t facts[8]; /* device, inode, size, written and changed (s and ns each), errno */
};

/* Reads the file's state and stores it in `seen`. Returns whether it differs from what `seen` held.
 */
bool file_state_changed(struct file_state *seen, const char *path);
