/* SPDX-License-Identifier: MIT */
/*
 * What an admin asks of a share's store: all of it as text, one row set, the
 * files looked for, a copy.  On pool threads, as answers that come later.
 *
 * What goes through all rows is done for one client at a time in a share, and
 * in few shares at a time, so that the pool has threads for the stores' own
 * work.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gatewayd/answer.h"
#include "gatewayd/statehost.h"
#include "gatewayd/tree.h"

enum {
	PROBLEMS_MAX = 1000,	/* lines about rows, of one check */
	POOL_PART = 16,		/* of the pool may be long tasks */
	IMPORT_ROWS = 256,	/* in a line; what is wrong with each, in no
				 * more than ANSWER_PIECE bytes */
};

struct state_job {
	struct gw *gw;
	struct owners *owners;	/* in use, or NULL */
	struct cf_state *state;
	bool alone;
	const char *name;	/* to be logged, or NULL */
	char tag[CONF_TAG_MAX + 1];
	char *dir;		/* of state.db */
	int root_fd;		/* O_PATH; -1: open `path` */
	char *path;
	char *line;		/* rows to be imported, ';' between them */
	bool gc;
	struct answer *answer;	/* while it runs */
	struct state_host host;
	bool partly;		/* a row has no path */
	unsigned long problems;	/* rows whose file was not found */
	char (*problem)[64];	/* the first of them, as lines */
	char result[256];	/* for the log */
};

/* ---- the pool thread ---- */

/* Why it should end before its time, or 0.  A check goes on without who asked
 * for it. */
static int
is_over(const struct state_job *job)
{
	if (owners_hurry(job->owners))
		return -ESHUTDOWN;
	return job->name || answer_is_wanted(job->answer) ? 0 : -ECANCELED;
}

static int
open_file(void *arg, struct cf_state_fs *fs, const struct file_handle *handle)
{
	struct state_job *job = arg;
	int err = is_over(job);		/* put_row, keep_problem then end it */

	return err ? err : state_host_open(&job->host, fs, handle);
}

static int
find_path(void *arg, int fd, char *path)
{
	struct state_job *job = arg;

	return state_host_path(&job->host, fd, path);
}

static int
open_root(struct state_job *job)
{
	if (job->root_fd < 0)
		job->root_fd = open(job->path, O_PATH | O_DIRECTORY |
				    O_CLOEXEC);
	return job->root_fd < 0 ? -errno : 0;
}

static int
put_line(void *arg, const char *line)
{
	struct state_job *job = arg;
	int err = is_over(job);

	return err || !line ? err : answer_put(job->answer, line);
}

/* Rows of files that are gone have no path; others should. */
static int
put_row(void *arg, const char *line)
{
	struct state_job *job = arg;
	const char *why = strrchr(line, ':');
	int err = is_over(job);

	if (err)
		return err;
	if (*line == '#' && why && strcmp(why, ": gone")) {
		job->partly = true;
		return -EXDEV;
	}
	return put_line(arg, line);
}

/* An error that damage is the cause of. */
static int
explain(struct state_job *job, int err, char why[ANSWER_WHY])
{
	struct cf_state_info info;

	cf_state_info(job->state, &info);
	if (err && info.damaged)
		cf_state_damage(job->state, why);
	return err;
}

static int
export_by_handle(struct state_job *job)
{
	struct cf_state_host host = {
		.open = open_file,
		.path = find_path,
		.arg = job,
	};
	int err = state_host_init(&job->host, job->state, job->root_fd);

	job->partly = !job->host.by_handle;
	if (!err && !job->partly)
		err = cf_state_export(job->state, &host, put_row, job);
	state_host_fini(&job->host);
	return job->partly ? 0 : err;
}

/*
 * By handle it takes a time that the rows need, and they are of one moment.
 * But the kernel has the path of a file only while it remembers its name, and
 * an ordinary user may not open by handle: then the tree is walked.
 */
static int
run_export(struct answer *a, void *arg, char why[ANSWER_WHY])
{
	struct state_job *job = arg;
	struct cf_state_info info;
	int err = open_root(job);

	job->answer = a;
	cf_state_info(job->state, &info);
	if (err || !info.exists || !info.rows)
		return err;
	err = export_by_handle(job);
	if (!err && job->partly)
		err = answer_reset(a);
	if (!err && job->partly)
		err = cf_state_export_tree(job->state, job->root_fd, put_line,
					   job);
	return explain(job, err, why);
}

static int
run_backup(struct answer *a, void *arg, char why[ANSWER_WHY])
{
	struct state_job *job = arg;
	char *path;
	int fd, err;

	if (asprintf(&path, "%s/copy-XXXXXX", job->dir) < 0)
		return -ENOMEM;
	/* The name is ours; the database that is put there must be new. */
	fd = mkostemp(path, O_CLOEXEC);
	err = fd < 0 ? -errno : 0;
	if (fd >= 0) {
		close(fd);
		err = cf_state_backup(job->state, path);
	}
	if (!err) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		err = fd < 0 ? -errno : answer_file(a, fd);
	}
	if (err == -ENOENT)
		snprintf(why, ANSWER_WHY, "nothing was recorded yet");
	unlink(path);
	free(path);
	return explain(job, err, why);
}

/* Cut at each ';' that stands outside of paths; how many rows it has, of which
 * the first IMPORT_ROWS are in row[]. */
static size_t
split_rows(char *text, char *row[IMPORT_ROWS])
{
	bool inside = false;
	size_t n = 0;
	char *p = text;

	for (;; p++) {
		inside ^= *p == '"';
		if (*p && (*p != ';' || inside))
			continue;
		if (*text && n++ < IMPORT_ROWS)
			row[n - 1] = text;
		if (!*p)
			return n;
		*p = '\0';
		text = p + 1;
	}
}

/* A line of the reply for each that was refused. */
static void
put_told(void *arg, size_t i, int err, const char *why)
{
	struct state_job *job = arg;
	char line[CF_STATE_WHY + 64];

	answer_count(job->answer, i, !err);
	if (!err)
		return;
	snprintf(line, sizeof(line), "%zu %s %s", i + 1, tree_errno_name(err),
		 why);
	(void)answer_put(job->answer, line);	/* who left needs none */
}

static int
run_import(struct answer *a, void *arg, char why[ANSWER_WHY])
{
	struct state_job *job = arg;
	struct cf_state_told told = { put_told, job };
	char *row[IMPORT_ROWS];
	size_t n = split_rows(job->line, row);
	int err = open_root(job);

	job->answer = a;
	if (!err && n > IMPORT_ROWS) {
		snprintf(why, ANSWER_WHY, "more than %d rows in a line",
			 IMPORT_ROWS);
		err = -E2BIG;
	}
	if (err || n < 2) {
		if (!err)
			err = cf_state_import(job->state, job->root_fd,
					      n ? row[0] : "", why);
		answer_count(a, 0, !err);
		return err;
	}
	/* What cannot go on has said so, behind the row's number. */
	(void)cf_state_import_many(job->state, job->root_fd, row, n, &told);
	return 0;
}

static int
keep_problem(void *arg, const char *line)
{
	struct state_job *job = arg;
	int err = is_over(job);

	if (err)
		return err;
	if (job->problems++ < PROBLEMS_MAX)
		snprintf(job->problem[job->problems - 1],
			 sizeof(job->problem[0]), "%s", line);
	return 0;
}

static int
put_check(struct state_job *job, const struct cf_state_check *k)
{
	const struct {
		const char *name;
		uint64_t n;
	} values[] = {
		{ "rows", k->rows },	   { "present", k->present },
		{ "gone", k->gone },	   { "unknown", k->unknown },
		{ "deleted", k->deleted },
	};
	char line[128];
	size_t at = 0;
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(values) / sizeof(*values); i++) {
		snprintf(line, sizeof(line), "%s %llu", values[i].name,
			 (unsigned long long)values[i].n);
		err = answer_put(job->answer, line);
		at += (size_t)snprintf(job->result + at,
				       sizeof(job->result) - at, "%s%s=%llu",
				       at ? " " : "", values[i].name,
				       (unsigned long long)values[i].n);
	}
	for (size_t i = 0; !err && i < job->problems && i < PROBLEMS_MAX; i++)
		err = answer_put(job->answer, job->problem[i]);
	if (!err && job->problems > PROBLEMS_MAX) {
		snprintf(line, sizeof(line), "more %lu",
			 job->problems - PROBLEMS_MAX);
		err = answer_put(job->answer, line);
	}
	return err == -ECANCELED ? 0 : err;
}

static int
run_check(struct answer *a, void *arg, char why[ANSWER_WHY])
{
	struct state_job *job = arg;
	struct cf_state_check check = { 0 };
	struct cf_state_host host = {
		.open = open_file,
		.path = find_path,
		.tell = keep_problem,
		.arg = job,
	};
	int err = open_root(job);

	job->answer = a;
	job->problem = calloc(PROBLEMS_MAX, sizeof(*job->problem));
	if (!job->problem)
		err = -ENOMEM;
	if (!err)
		err = state_host_init(&job->host, job->state, job->root_fd);
	if (!err)
		err = (job->gc ? cf_state_gc : cf_state_check)(
			job->state, &host, &check);
	state_host_fini(&job->host);
	if (check.damaged) {
		cf_state_damage(job->state, why);
		err = -EIO;
	}
	if (!err)
		err = put_check(job, &check);
	return err;
}

/* ---- the control thread ---- */

static void
end_job(void *arg, int err, const char *why)
{
	struct state_job *job = arg;
	struct gw *gw = job->gw;

	if (job->name && err)
		log_warn("%s: state %s: %s", job->tag, job->name, why);
	else if (job->name)
		log_info("%s: state %s %s", job->tag, job->name, job->result);
	if (job->owners)
		owners_release(job->owners, job->alone);
	if (job->owners && job->alone)
		gw->nlong--;
	if (job->root_fd >= 0)
		close(job->root_fd);
	free(job->dir);
	free(job->path);
	free(job->line);
	free(job->problem);
	free(job);
}

static const struct answer_work works[] = {
	{ run_export, end_job, false },
	{ run_backup, end_job, false },
	{ run_check, end_job, false },
	{ run_import, end_job, true },
};
enum work { EXPORT, BACKUP, CHECK, IMPORT };

static int
fill_job(struct state_job *job, struct share *share)
{
	if (share->fs)
		job->root_fd = fcntl(fs_share_root(share->fs), F_DUPFD_CLOEXEC,
				     0);
	job->path = strdup(share->conf->path);
	job->dir = tag_dir(share->gw->state_dir, share->tag->name);
	return job->path && job->dir ? 0 : -ENOMEM;
}

/* Too many long tasks would keep the stores from their own work. */
static int
may_begin(struct gw *gw, char *why, size_t size)
{
	struct pool_info info;

	pool_info(gw->pool, &info);
	if (gw->nlong < (info.size < 2 * POOL_PART ? 1 : info.size / POOL_PART))
		return 0;
	snprintf(why, size, "busy: exports or checks of other shares are "
		 "under way");
	return -EBUSY;
}

static int
begin(struct state_job *job, struct share *share, enum work work,
      struct answer **later, char *why, size_t size)
{
	const char *dir = NULL;
	int err = 0;

	job->gw = share->gw;
	job->alone = work != IMPORT;
	job->root_fd = -1;
	snprintf(job->tag, sizeof(job->tag), "%s", share->tag->name);
	if (job->alone)
		err = may_begin(job->gw, why, size);
	if (!err)
		err = owners_use(share, job->alone, &job->owners, &job->state,
				 why, size);
	if (!err && job->alone)
		job->gw->nlong++;
	if (!err)
		err = fill_job(job, share);
	if (err) {
		job->name = NULL;	/* who asked is told */
		end_job(job, err, why);
		return err;
	}
	if (work == EXPORT || work == BACKUP)
		dir = job->dir;
	return answer_new(share->gw, &works[work], job, dir, later, why, size);
}

static int
begin_new(struct share *share, enum work work, const char *name, bool gc,
	  const char *line, struct answer **later, char *why, size_t size)
{
	struct state_job *job = calloc(1, sizeof(*job));

	if (job && line)
		job->line = strdup(line);
	if (!job || (line && !job->line)) {
		free(job);
		return -ENOMEM;
	}
	job->name = name;
	job->gc = gc;
	return begin(job, share, work, later, why, size);
}

int
state_export(struct share *share, struct answer **later, char *why, size_t size)
{
	return begin_new(share, EXPORT, NULL, false, NULL, later, why, size);
}

int
state_backup(struct share *share, struct answer **later, char *why, size_t size)
{
	return begin_new(share, BACKUP, NULL, false, NULL, later, why, size);
}

int
state_import(struct share *share, const char *line, struct answer **later,
	     char *why, size_t size)
{
	return begin_new(share, IMPORT, NULL, false, line, later, why, size);
}

int
state_word(struct share *share, const char *word, struct answer **later,
	   char *why, size_t size)
{
	bool gc = !strcmp(word, "gc");

	if (!gc && strcmp(word, "check")) {
		snprintf(why, size, "state takes check or gc");
		return -EINVAL;
	}
	return begin_new(share, CHECK, gc ? "gc" : "check", gc, NULL, later,
			 why, size);
}
