#include "base/process_usage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* How many entries a folder has. */
static double entries(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder)
        return -1;
    double count = -2; /* `.` and `..` */
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* /proc/self/statm: all pages, those that are resident, and more. */
static void read_memory(struct process_usage *usage)
{
    char line[256], *behind;
    double page = (double)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return;
    if (fgets(line, sizeof line, file)) {
        unsigned long pages = strtoul(line, &behind, 10), resident = strtoul(behind, NULL, 10);
        if (pages && resident) {
            usage->virtual_bytes = (double)pages * page;
            usage->resident_bytes = (double)resident * page;
        }
    }
    fclose(file);
}

void process_usage_read(struct process_usage *usage)
{
    struct rusage used;
    struct rlimit files;
    *usage = (struct process_usage){-1, -1, -1, -1, -1, -1, -1};
    if (getrusage(RUSAGE_SELF, &used) == 0)
        usage->cpu_seconds = seconds(used.ru_utime) + seconds(used.ru_stime);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        usage->max_files = (double)files.rlim_cur;
    usage->threads = entries("/proc/self/task");
    usage->open_files = entries("/proc/self/fd");
    if (usage->open_files > 0)
        usage->open_files--; /* the one that counted them */
    read_memory(usage);
}
