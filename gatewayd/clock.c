/* SPDX-License-Identifier: MIT */
/*
 * Which clock times requests: see clock.h.  The processor's counter is used
 * when the kernel itself keeps time by it; then it runs evenly and is the same
 * on every processor.
 */
#include "gatewayd/clock.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define CLOCKSOURCE \
	"/sys/devices/system/clocksource/clocksource0/current_clocksource"
#define CALIBRATE_NS 2000000

static bool
kernel_trusts_ticks(void)
{
	char name[8] = "";
	int fd = open(CLOCKSOURCE, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, name, sizeof(name) - 1);
	close(fd);
	return n > 0 && !strcmp(name, "tsc\n");
}

void
gw_clock_init(struct gw_clock *c)
{
	uint64_t ticks, ns, now;

	memset(c, 0, sizeof(*c));
	if (!kernel_trusts_ticks())
		return;
	ns = gw_clock_kernel();
	ticks = gw_clock_ticks();
	do
		now = gw_clock_kernel();
	while (now - ns < CALIBRATE_NS);
	c->ticks = gw_clock_ticks();
	c->ns = now;
	if (c->ticks > ticks)
		c->mult = ((now - ns) << 32) / (c->ticks - ticks);
}
