/* What this process uses, as Linux tells in /proc/self (proc(5)). Any thread. */
#pragma once

struct process_usage {
    double cpu_seconds, started_seconds; /* the second is the caller's to fill in */
    double resident_bytes, virtual_bytes;
    double open_files, files_most, threads;
};

/* What cannot be read (no /proc) is below 0. */
void process_usage_read(struct process_usage *usage);
