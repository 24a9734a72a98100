/*
 * Finding and ending all that descends from a process, as /proc tells it.
 */
#include "testing/wait.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DESCENDANTS 1024

typedef struct process_tree {
    pid_t pid[MAX_DESCENDANTS];
    int n;
} process_tree;

static long parent_of(long pid)
{
    char path[64], line[512];
    long parent = -1;

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    /* "pid (name) state parent …", and the name may hold anything. */
    char *end = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    if (end != NULL && strlen(end) > 4)
        parent = strtol(end + 4, NULL, 10);
    fclose(file);
    return parent;
}

/* Adds the children of every process in the tree that are not in it. Returns whether there were any. */
static bool add_children(process_tree *tree)
{
    DIR *dir = opendir("/proc");
    int before = tree->n;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        long pid = strtol(entry->d_name, NULL, 10);
        long parent = pid > 0 ? parent_of(pid) : -1;
        bool known = false, child = false;

        for (int i = 0; i < tree->n; i++) {
            known = known || tree->pid[i] == pid;
            child = child || tree->pid[i] == parent;
        }
        if (child && !known && tree->n < MAX_DESCENDANTS)
            tree->pid[tree->n++] = (pid_t)pid;
    }
    if (dir != NULL)
        closedir(dir);
    return tree->n > before;
}

void mssh_testing_kill_tree(pid_t root)
{
    process_tree tree = {.pid = {root}, .n = 1};

    while (add_children(&tree))
        continue;
    for (int i = 0; i < tree.n; i++)
        kill(tree.pid[i], SIGKILL);
}
