/* SPDX-License-Identifier: MIT */
/*
 * A file tree in memory, see fsmodel.h.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/system/fsmodel.h"

static void *
must(void *p)
{
	if (!p) {
		fprintf(stderr, "fsops: out of memory\n");
		exit(2);
	}
	return p;
}

struct node *
node_new(mode_t mode)
{
	struct node *n = must(calloc(1, sizeof(*n)));

	n->mode = mode;
	n->links = S_ISDIR(mode) ? 2 : 0;
	return n;
}

static bool
node_is_held(const struct node *n)
{
	if (n->opens)
		return true;
	return S_ISDIR(n->mode) ? n->parent != NULL : n->links > 0;
}

void
node_drop(struct node *n)
{
	if (node_is_held(n))
		return;
	free(n->data);
	free(n->entries);
	free(n);
}

void
tree_free(struct node *root)
{
	while (root->nentries) {
		struct entry *e = root->entries[root->nentries - 1];

		if (S_ISDIR(e->node->mode) && e->node->nentries)
			tree_free(e->node);
		else
			tree_remove(e);
	}
	if (!root->parent)
		node_drop(root);
}

static void
dir_insert(struct node *dir, struct entry *e)
{
	size_t n = dir->nentries + 1;

	dir->entries = must(realloc(dir->entries, n * sizeof(*dir->entries)));
	dir->entries[dir->nentries++] = e;
	e->dir = dir;
	if (S_ISDIR(e->node->mode))
		dir->links++;
}

static void
dir_take_out(struct entry *e)
{
	struct node *dir = e->dir;

	for (size_t i = 0; i < dir->nentries; i++)
		if (dir->entries[i] == e) {
			dir->entries[i] = dir->entries[--dir->nentries];
			break;
		}
	if (S_ISDIR(e->node->mode))
		dir->links--;
}

struct entry *
tree_add(struct node *dir, const char *name, struct node *node)
{
	struct entry *e = must(calloc(1, sizeof(*e)));

	snprintf(e->name, sizeof(e->name), "%s", name);
	e->node = node;
	if (S_ISDIR(node->mode))
		node->parent = e;
	else
		node->links++;
	dir_insert(dir, e);
	return e;
}

void
tree_remove(struct entry *e)
{
	struct node *n = e->node;

	dir_take_out(e);
	if (S_ISDIR(n->mode))
		n->parent = NULL;
	else
		n->links--;
	free(e);
	node_drop(n);
}

void
tree_move(struct entry *e, struct node *dir, const char *name)
{
	char copy[NAME_ROOM];

	snprintf(copy, sizeof(copy), "%s", name);
	dir_take_out(e);
	memcpy(e->name, copy, sizeof(copy));
	dir_insert(dir, e);
}

void
tree_swap(struct entry *a, struct entry *b)
{
	struct node *n = a->node;

	if (S_ISDIR(a->node->mode) != S_ISDIR(b->node->mode)) {
		struct entry *d = S_ISDIR(a->node->mode) ? a : b;
		struct entry *f = d == a ? b : a;

		d->dir->links--;
		f->dir->links++;
	}
	a->node = b->node;
	b->node = n;
	if (S_ISDIR(a->node->mode))
		a->node->parent = a;
	if (S_ISDIR(b->node->mode))
		b->node->parent = b;
}

struct entry *
tree_find(const struct node *dir, const char *name)
{
	for (size_t i = 0; i < dir->nentries; i++)
		if (!strcmp(dir->entries[i]->name, name))
			return dir->entries[i];
	return NULL;
}

bool
tree_is_below(const struct node *dir, const struct node *node)
{
	while (dir != node && dir->parent)
		dir = dir->parent->dir;
	return dir == node;
}

unsigned
tree_depth(const struct node *dir)
{
	unsigned n = 0;

	for (; dir->parent; dir = dir->parent->dir)
		n++;
	return n;
}

void
tree_path(const struct node *dir, const char *name, char *path)
{
	char head[PATH_ROOM];

	if (!dir->parent) {
		snprintf(path, PATH_ROOM, "%s", *name ? name : ".");
		return;
	}
	tree_path(dir->parent->dir, dir->parent->name, head);
	snprintf(path, PATH_ROOM, "%.*s%s%s", PATH_ROOM - NAME_ROOM - 2, head,
		 *name ? "/" : "", name);
}

int
node_resize(struct node *n, size_t size)
{
	unsigned char *data = realloc(n->data, size ? size : 1);

	if (!data)
		return -1;
	if (size > n->size)
		memset(data + n->size, 0, size - n->size);
	n->data = data;
	n->size = size;
	return 0;
}

int
node_write(struct node *n, size_t off, const void *buf, size_t len)
{
	if (off + len > n->size && node_resize(n, off + len) < 0)
		return -1;
	memcpy(n->data + off, buf, len);
	return 0;
}
