# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# The layers, from the #include lines: which folder may include what, and
# which outside library is known by which folder.  Then planted violations,
# each of which must be found.

. "${top_srcdir:-.}/tests/functions.sh"

# check_tree DIR: print each violation as "FILE:LINE: why"; status 1 if any.
check_tree() {
	(cd "$1" && find conf casefold vhost fuse gatewayd tests \
		-name '*.[ch]' -type f 2>/dev/null | LC_ALL=C sort |
		xargs -r awk "$layers_awk")
}

# shellcheck disable=SC2016 # the dollar signs are awk's
layers_awk='
BEGIN {
	# Folder: headers of others that it may include.  Its own come by
	# themselves.  tests/ may include anything.
	may["conf"] = ""
	may["casefold"] = "conf/share.h"
	may["vhost"] = "conf/share.h"
	may["fuse"] = "conf/share.h casefold/casefold.h"
	may["gatewayd"] = "conf/share.h conf/conf.h casefold/casefold.h" \
		" vhost/vhost.h fuse/fuse.h"
	may["tests"] = "*"

	# Outside headers (a regular expression): who knows them.
	n = 0
	lib[++n] = "^ini\\.h$";			knows[n] = "conf"
	lib[++n] = "^sqlite3";			knows[n] = "casefold"
	lib[++n] = "^linux/(virtio_|vhost)";	knows[n] = "vhost"
	lib[++n] = "^linux/(fuse|io_uring)\\.h$";	knows[n] = "fuse"
	lib[++n] = "^(event2/|ev(ent|http|dns|util|rpc))"; knows[n] = "gatewayd"

	# gatewayctl mount hands on the messages of the host kernel itself.
	except["gatewayd/slot.h linux/fuse.h"] = 1

	# What the C library and the kernel have.  Anything else is a library
	# that nobody has agreed to.
	split("aio alloca argz assert byteswap cpuid ctype dirent dlfcn" \
	    " elf endian envz err errno error execinfo fcntl features" \
	    " fenv float fnmatch fts ftw getopt glob grp iconv ifaddrs" \
	    " inttypes langinfo libgen limits link locale malloc math" \
	    " mntent mqueue netdb obstack paths poll pthread pwd regex" \
	    " resolv sched search semaphore setjmp shadow signal spawn" \
	    " stdalign stdarg stdatomic stdbool stddef stdint stdio" \
	    " stdlib stdnoreturn string strings syslog termios tgmath" \
	    " threads time uchar ucontext unistd utime utmp wait wchar" \
	    " wctype wordexp x86intrin immintrin emmintrin", words, " ")
	for (i in words)
		libc[words[i] ".h"] = 1
}

function bad(why) {
	printf "%s:%d: %s\n", FILENAME, FNR, why
	found = 1
}

function folder_of(path) {
	return substr(path, 1, index(path, "/") - 1)
}

function check_own(name,	other) {
	if (name == "config.h")
		return
	if (name ~ /\.\./ || name !~ /\//) {
		bad("\"" name "\" is not spelled from the top")
		return
	}
	if (name !~ /\.h$/) {
		bad("\"" name "\" is not a header")
		return
	}
	other = folder_of(name)
	if (!(other in may)) {
		bad("\"" name "\" is in no folder of ours")
		return
	}
	if (other != folder && may[folder] != "*" &&
	    index(" " may[folder] " ", " " name " ") == 0)
		bad(folder "/ may not include \"" name "\"")
}

function check_outside(name,	i) {
	if (folder == "tests")
		return
	for (i = 1; i <= n; i++)
		if (name ~ lib[i]) {
			if (knows[i] != folder &&
			    !((FILENAME " " name) in except))
				bad("<" name "> is known by " knows[i] \
				    "/, not by " folder "/")
			return
		}
	if (name in libc || name ~ /^(sys|linux|asm|net|netinet|arpa)\//)
		return
	bad("<" name "> belongs to a library that no folder knows")
}

FNR == 1 { folder = folder_of(FILENAME) }

/^[ \t]*#[ \t]*include/ {
	line = $0
	sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
	first = substr(line, 1, 1)
	rest = substr(line, 2)
	if (first == "\"" && index(rest, "\""))
		check_own(substr(rest, 1, index(rest, "\"") - 1))
	else if (first == "<" && index(rest, ">"))
		check_outside(substr(rest, 1, index(rest, ">") - 1))
	else
		bad("an #include that cannot be read: " line)
}

END { exit found }
'

check "every #include keeps to the layers" check_tree "$top_srcdir"

# planted WORDS FILE LINE: a tree with only that line must be refused.
planted() {
	rm -rf "$tmp/tree"
	mkdir -p "$tmp/tree/$(dirname "$2")"
	printf '/* SPDX */\n%s\n' "$3" >"$tmp/tree/$2"
	if check_tree "$tmp/tree" >"$tmp/said"; then
		not_ok "found: $1" "$2: $3"
	elif grep -q "^$2:2: " "$tmp/said"; then
		ok "found: $1"
	else
		not_ok "found: $1" "$(cat "$tmp/said")"
	fi
}

planted "vhost/ includes fuse/" vhost/a.c '#include "fuse/fuse.h"'
planted "fuse/ includes vhost/" fuse/a.c '#include "vhost/vhost.h"'
planted "conf/ includes casefold/" conf/a.c '#include "casefold/casefold.h"'
planted "casefold/ includes more of conf/" casefold/a.h '#include "conf/conf.h"'
planted "gatewayd/ goes behind a door" gatewayd/a.c '#include "vhost/wire.h"'
planted "gatewayd/ uses tests/" gatewayd/a.c '#include "tests/tap.h"'
planted "a space in the line" vhost/a.c '  #  include  "fuse/fuse.h"'
planted "a path with .." vhost/a.c '#include "../fuse/fuse.h"'
planted "a path not from the top" fuse/a.c '#include "ops.h"'
planted "a .c file included" fuse/a.c '#include "fuse/ops.c"'
planted "a macro included" fuse/a.c '#include HEADER'
planted "SQLite outside casefold/" gatewayd/a.c '#include <sqlite3.h>'
planted "libevent outside gatewayd/" vhost/a.c '#include <event2/event.h>'
planted "inih outside conf/" gatewayd/a.c '#include <ini.h>'
planted "FUSE numbers outside fuse/" vhost/a.c '#include <linux/fuse.h>'
planted "virtio numbers outside vhost/" fuse/a.c \
	'#include <linux/virtio_ring.h>'
planted "a library that nobody knows" gatewayd/a.c '#include <json-c/json.h>'
planted "another one" gatewayd/a.c '#include <cap-ng.h>'

# And what is allowed is let through.
rm -rf "$tmp/tree"
mkdir -p "$tmp/tree/gatewayd" "$tmp/tree/tests" "$tmp/tree/fuse"
cat >"$tmp/tree/gatewayd/a.c" <<'C'
#include "config.h"
#include <event2/event.h>
#include <sys/socket.h>
#include "gatewayd/gw.h"
#include "fuse/fuse.h"
#include "vhost/vhost.h"
C
echo '#include <linux/fuse.h>' >"$tmp/tree/fuse/a.h"
echo '#include "vhost/wire.h"' >"$tmp/tree/tests/a.c"
echo '#include <linux/fuse.h>' >"$tmp/tree/gatewayd/slot.h"
check "what is allowed is let through" check_tree "$tmp/tree"
finish
