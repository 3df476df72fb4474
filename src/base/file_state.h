/* Whether a file has changed since it was last looked at, links followed. No thread safety. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What tells one state of a file from another. */
struct file_state {
    int64_t facts[8]; /* device, inode, size, written and changed (s and ns each), errno */
};

/* Looks at the file, and remembers. Returns whether it is not as it was in `seen`. */
bool file_state_changed(struct file_state *seen, const char *path);
