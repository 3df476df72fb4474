#include "base/file_state.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static void look(struct file_state *state, const char *path)
{
    struct stat status;
    *state = (struct file_state){0};
    if (stat(path, &status)) {
        state->facts[7] = errno;
        return;
    }
    const int64_t facts[] = {(int64_t)status.st_dev, (int64_t)status.st_ino, status.st_size,
                             status.st_mtim.tv_sec,  status.st_mtim.tv_nsec, status.st_ctim.tv_sec,
                             status.st_ctim.tv_nsec};
    memcpy(state->facts, facts, sizeof facts);
}

bool file_state_changed(struct file_state *seen, const char *path)
{
    struct file_state now;
    look(&now, path);
    bool changed = memcmp(now.facts, seen->facts, sizeof now.facts) != 0;
    *seen = now;
    return changed;
}
