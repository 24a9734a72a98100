/*
 * Finding and ending all that descends from a process, as /proc tells it.
 */
#include "testing/wait.h"

#include <ctype.h>
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

static pid_t parent_of(const char *pid)
{
    char path[64], line[512];
    int parent = -1;

    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    /* "pid (name) state parent …", and the name may hold anything. */
    char *end = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    if (end == NULL || sscanf(end + 1, " %*c %d", &parent) != 1)
        parent = -1;
    fclose(file);
    return parent;
}

/* Adds the children of every process in the tree that are not in it. Returns whether there were any. */
static bool add_children(process_tree *tree)
{
    DIR *dir = opendir("/proc");
    int before = tree->n;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        pid_t parent = isdigit((unsigned char)entry->d_name[0]) ? parent_of(entry->d_name) : -1;
        bool known = false, child = false;

        for (int i = 0; i < tree->n; i++) {
            known = known || tree->pid[i] == pid;
            child = child || tree->pid[i] == parent;
        }
        if (child && !known && tree->n < MAX_DESCENDANTS)
            tree->pid[tree->n++] = pid;
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
