/* SPDX-License-Identifier: MIT */
/*
 * A file tree in memory: what fsops believes the tree on the disk to be.
 * Knows nothing of system calls.
 */
#ifndef TESTS_SYSTEM_FSMODEL_H
#define TESTS_SYSTEM_FSMODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NAME_ROOM 40		/* bytes of a name, with its NUL */
#define PATH_ROOM 512
#define DEPTH_MAX 8

struct entry;

/* An inode.  Freed with its last name and its last open handle. */
struct node {
	mode_t mode;		/* type and permission bits */
	unsigned links;		/* names; for a directory 2 + directories in it */
	unsigned opens;		/* handles that fsops holds */
	ino_t ino;		/* as first seen; 0 = not yet */
	size_t size;
	unsigned char *data;	/* a file's bytes, size of them */
	char target[NAME_ROOM];	/* of a symbolic link */
	struct entry *parent;	/* a directory's own entry; NULL = the root */
	struct entry **entries;	/* of a directory */
	size_t nentries;
};

/* A name in a directory. */
struct entry {
	char name[NAME_ROOM];
	struct node *dir;	/* that holds it */
	struct node *node;
};

struct node *node_new(mode_t mode);
void node_drop(struct node *node);	/* free it if nothing holds it */
void tree_free(struct node *root);

struct entry *tree_add(struct node *dir, const char *name, struct node *node);
void tree_remove(struct entry *entry);	/* and drop its node */
void tree_move(struct entry *entry, struct node *dir, const char *name);
void tree_swap(struct entry *a, struct entry *b);
struct entry *tree_find(const struct node *dir, const char *name);

/* Is `dir` the directory `node`, or below it? */
bool tree_is_below(const struct node *dir, const struct node *node);
unsigned tree_depth(const struct node *dir);
/* The path of name in dir from the root ("" = the directory itself). */
void tree_path(const struct node *dir, const char *name, char *path);

/* Set the size; new bytes are 0.  0, or -1 without memory. */
int node_resize(struct node *node, size_t size);
/* Write bytes, growing the file as needed. */
int node_write(struct node *node, size_t off, const void *buf, size_t len);

#endif
