#include "sandbox/platform/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

int sandbox_record_init(struct sandbox_record *record, const char *path, struct error *error)
{
    *record = (struct sandbox_record){.file = -1};
    if (!path)
        return 0;
    record->file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    return record->file >= 0 ? 0 : error_set(error, "cannot open %s: %m", path);
}

void sandbox_record_fini(struct sandbox_record *record)
{
    if (record->file >= 0)
        close(record->file);
    record->file = -1;
    text_fini(&record->line);
}

static void add_member(struct text *line, const char *name, const char *value)
{
    text_add(line, name);
    if (value)
        text_json(line, value, strlen(value));
    else
        text_add(line, "null");
}

void sandbox_record_write(struct sandbox_record *record, const struct sandbox_record_entry *entry)
{
    if (record->file < 0)
        return;
    struct text *line = &record->line;
    text_clear(line);
    text_printf(line, "{\"time\":%" PRId64 ",\"connection\":%" PRIu64, entry->wall_ms,
                entry->connection);
    add_member(line, ",\"endpoint\":", entry->endpoint);
    add_member(line, ",\"Caller\":", entry->caller);
    add_member(line, ",\"Callee\":", entry->callee);
    add_member(line, ",\"CallIdentifier\":", entry->call_identifier);
    add_member(line, ",\"fault\":", entry->fault);
    add_member(line, ",\"violation\":", entry->violation);
    text_add(line, "}\n");
    if (write(record->file, line->data, line->length) != (ssize_t)line->length)
        log_error("the test record could not be written: %m");
}
