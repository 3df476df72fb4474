/* What this process uses, read from /proc/self (proc(5)). Any thread. */
#pragma once

struct process_usage {
    double cpu_seconds, started_seconds; /* the caller fills in started_seconds */
    double resident_bytes, virtual_bytes;
    double open_files, max_files, threads;
};

/* A value that cannot be read (no /proc) is below 0. */
void process_usage_read(struct process_usage *usage);
