/* SPDX-License-Identifier: MIT */
/*
 * gatewayd(8): arguments, the order of start and stop, the exit status.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gatewayd/gw.h"

enum {
	EXIT_FAILED = 1,	/* while running */
	EXIT_USAGE = 2,
	EXIT_CONFIG = 78,	/* EX_CONFIG of sysexits.h */
};

/* The control thread waits no longer for what does not answer. */
#define RELOAD_PATIENCE_MS 250
#define LOG_KEPT (64 << 10)	/* bytes of it that the file `log` shows */

enum action { RUN, CHECK_CONFIG, PRINT_CONFIG, PRINT_MANUAL, VERSION, HELP };

struct args {
	enum action action;
	struct conf_source source;
	const char **shares;
	size_t nshares;
	int ready_fd;
	const char *log_file;
};

static const char usage_text[] =
"usage: gatewayd [-c FILE] [--share TAG:PATH]... [OPTION]...\n"
"\n"
"Serve directories of this host to virtual machines over virtio-fs.\n"
"\n"
"  -c, --config FILE    read FILE instead of the default configuration\n"
"      --share TAG:PATH serve PATH as mount tag TAG (needs no file)\n"
"  -t, --check-config   report every mistake in the configuration and exit\n"
"  -T, --print-config   print the configuration with all its values and exit\n"
"      --ready-fd N     write a newline to descriptor N once all sockets listen\n"
"      --log-file F     append the log to F instead of standard error\n"
"  -V, --version        print the version\n"
"  -h, --help           print this\n";

/* clang-format off */
static const struct option options[] = {
	{ "config",       required_argument, NULL, 'c' },
	{ "share",        required_argument, NULL, 's' },
	{ "check-config", no_argument,       NULL, 't' },
	{ "print-config", no_argument,       NULL, 'T' },
	{ "print-manual", no_argument,       NULL, 'M' },	/* for the build */
	{ "ready-fd",     required_argument, NULL, 'r' },
	{ "log-file",     required_argument, NULL, 'l' },
	{ "version",      no_argument,       NULL, 'V' },
	{ "help",         no_argument,       NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};
/* clang-format on */

static int
usage_error(const char *fmt, const char *arg)
{
	fprintf(stderr, "gatewayd: ");
	fprintf(stderr, fmt, arg);
	fprintf(stderr, "\nTry 'gatewayd --help'.\n");
	return -EINVAL;
}

static int
add_share(struct args *a, const char *arg)
{
	const char **v = realloc(a->shares, (a->nshares + 2) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	v[a->nshares++] = arg;
	v[a->nshares] = NULL;
	a->shares = v;
	a->source.shares = v;
	return 0;
}

static int
set_ready_fd(struct args *a, const char *arg)
{
	char *end;
	long n = strtol(arg, &end, 10);

	if (*end || end == arg || n < 0 || n > 1 << 20 ||
	    fcntl((int)n, F_GETFD) < 0)
		return usage_error("--ready-fd %s: not an open descriptor", arg);
	a->ready_fd = (int)n;
	fcntl(a->ready_fd, F_SETFD, FD_CLOEXEC);
	return 0;
}

static int
parse_args(int argc, char **argv, struct args *a)
{
	int c, err = 0;

	while (!err && (c = getopt_long(argc, argv, "c:tTVh", options,
					NULL)) != -1) {
		switch (c) {
		case 'c': a->source.file = optarg; break;
		case 's': err = add_share(a, optarg); break;
		case 't': a->action = CHECK_CONFIG; break;
		case 'T': a->action = PRINT_CONFIG; break;
		case 'M': a->action = PRINT_MANUAL; break;
		case 'r': err = set_ready_fd(a, optarg); break;
		case 'l': a->log_file = optarg; break;
		case 'V': a->action = VERSION; break;
		case 'h': a->action = HELP; break;
		default:
			fprintf(stderr, "Try 'gatewayd --help'.\n");
			return -EINVAL;
		}
	}
	if (!err && optind < argc)
		err = usage_error("unexpected argument \"%s\"", argv[optind]);
	return err;
}

/* What is said about the configuration goes to standard error, as it is. */
static int
load(struct args *a, struct conf **conf)
{
	char *messages = NULL;
	int err = conf_load(&a->source, conf, &messages);

	if (messages && a->action == RUN && log_is_journal())
		log_messages("", messages);
	else if (messages)
		fputs(messages, stderr);
	free(messages);
	return err;
}

/* No descriptor of ours may become standard output or error. */
static void
open_standard_fds(void)
{
	int fd = open("/dev/null", O_RDWR);

	while (fd >= 0 && fd < 2)
		fd = dup(fd);
	if (fd > 2)
		close(fd);
}

static void
start_shares(struct gw *gw)
{
	for (size_t i = 0; i < gw->conf->nshares; i++)
		share_start(gw, gw->conf->shares[i]);
	if (gw->conf->nshares == 0)
		log_warn("no share is configured; waiting");
}

static void
say_ready(struct gw *gw, int ready_fd)
{
	if (ready_fd >= 0) {
		if (write(ready_fd, "\n", 1) != 1)
			log_warn("--ready-fd: %s", strerror(errno));
		close(ready_fd);
	}
	notify_systemd("READY=1");
	gw_status(gw);
}

static void
on_interrupt(int sig)
{
	(void)sig;
}

static void
set_signals(void)
{
	/* No SA_RESTART: it is to end a system call (qthread_interrupt). */
	struct sigaction sa = { .sa_handler = on_interrupt };

	sigaction(SIGUSR1, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);	/* a guest's write beyond RLIMIT_FSIZE */
}

/* 0 or an exit status. */
static int
start(struct gw *gw, struct args *a)
{
	char why[512] = "";
	int err;

	umask(0);
	set_signals();
	log_set_level((enum conf_log)gw->conf->gateway.log_level);
	privs_raise_nofile(gw->conf->gateway.rlimit_nofile);
	vh_limit_maps(privs_maps_limit());
	gw_apply(gw);
	gw_clock_init(&gw->clock);
	err = lines_new(LOG_KEPT, &gw->log);
	if (!err) {
		log_keep(gw->log);
		err = activate(gw);
	}
	gw->cache_dir = strdup(gw->conf->gateway.cache_dir);
	gw->state_dir = strdup(gw->conf->gateway.state_dir);
	if (!gw->cache_dir || !gw->state_dir)
		err = -ENOMEM;
	if (!err)
		err = cf_guards_new(&gw->guards);
	if (!err)
		err = vh_sigbus_init();
	if (!err)
		err = gw_init(gw);
	if (!err)
		err = fs_budget_new(&gw->budget);
	if (!err)
		err = pool_new(gw, gw->conf->gateway.thread_pool_size,
			       &gw->pool);
	if (!err)
		err = privs_drop(&gw->conf->gateway.caps);
	if (!err)
		err = notify_watchdog(gw);
	if (!err)
		err = sweep_start(gw);
	if (!err)
		err = ctl_new(gw, &gw->ctl, why, sizeof(why));
	if (err) {
		log_error("cannot start: %s", why[0] ? why : strerror(-err));
		return EXIT_FAILED;
	}
	gw->source.patience_ms = RELOAD_PATIENCE_MS;
	start_shares(gw);
	gw_run_start(gw);
	say_ready(gw, a->ready_fd);
	return 0;
}

static int
run(struct args *a)
{
	struct gw gw = { .mail_fd = -1, .source = a->source };
	int status;

	if (load(a, &gw.conf))
		return EXIT_CONFIG;
	open_standard_fds();
	if (a->log_file && log_open(a->log_file)) {
		log_error("--log-file %s: %s", a->log_file, strerror(errno));
		return EXIT_FAILED;
	}
	status = start(&gw, a);
	if (!status) {
		gw_run(&gw);
		status = gw.exit_status;
	}
	ctl_free(gw.ctl);
	/* Threads that hang in a request keep what they use: just leave. */
	if (!TAILQ_EMPTY(&gw.shares) || !LIST_EMPTY(&gw.stores) ||
	    gw.nasides || !pool_free(gw.pool))
		_exit(status);
	gw_fini(&gw);
	fs_budget_free(gw.budget);
	free(gw.cache_dir);
	cf_guards_free(gw.guards);
	free(gw.state_dir);
	conf_free(gw.conf);
	log_info("stopped");
	log_keep(NULL);
	lines_free(gw.log);
	return status;
}

static int
show_config(struct args *a)
{
	struct conf *conf;

	a->source.advise = a->action == CHECK_CONFIG;
	if (load(a, &conf))
		return EXIT_CONFIG;
	if (a->action == PRINT_CONFIG)
		conf_print(conf, stdout);
	conf_free(conf);
	return fflush(stdout) ? EXIT_FAILED : 0;
}

int
main(int argc, char **argv)
{
	struct args a = { .ready_fd = -1 };
	int status = 0;

	if (parse_args(argc, argv, &a))
		return EXIT_USAGE;
	switch (a.action) {
	case RUN:
		status = run(&a);
		break;
	case CHECK_CONFIG:
	case PRINT_CONFIG:
		status = show_config(&a);
		break;
	case PRINT_MANUAL:
		conf_print_manual(stdout);
		break;
	case VERSION:
		printf("gatewayd %s\n", GW_VERSION);
		break;
	case HELP:
		fputs(usage_text, stdout);
		break;
	}
	free(a.shares);
	return status;
}
