/* SPDX-License-Identifier: Apache-2.0 */
/* rmem attach: give remote memory to a program that runs already. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/capture/inject.h"
#include "client/capture/proc.h"
#include "client/run.h"
#include "common/base/err.h"
#include "tools/cli.h"
#include "tools/options.h"
#include "tools/runs.h"

static int parse_pid(const char *text, pid_t *pid)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (text[0] < '1' || text[0] > '9' || *end || n > 1 << 22)
		return err_set(-EINVAL, "'%.40s' is not a process number: see ps", text);
	*pid = (pid_t)n;
	return 0;
}

/* The kernel's own test of whether we may take control of it. */
static int check_rights(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_set(-errno,
			       "process %d: %s: run rmem as its user with CAP_SYS_PTRACE,"
			       " or as root",
			       (int)pid, strerror(errno));
	close(fd);
	return 0;
}

static int check_process(pid_t pid)
{
	enum inject_refusal why;
	struct proc_stat st;
	pid_t run;

	if (proc_stat(pid, &st) || st.state == 'Z' || st.state == 'X')
		return err_set(-ESRCH, "process %d: does not exist: see ps", (int)pid);
	if (st.kthread)
		return err_set(-EINVAL, "process %d: belongs to the kernel", (int)pid);
	if (pid == getpid())
		return err_set(-EINVAL, "process %d: is rmem itself", (int)pid);
	run = runs_managing(pid);
	if (run)
		return err_set(-EBUSY, "process %d: has remote memory already, by rmem %d",
			       (int)pid, (int)run);
	if (check_rights(pid))
		return -EPERM;
	why = inject_check(pid);
	if (why != REFUSE_NONE)
		return err_set(-EPERM, "process %d: %s", (int)pid, inject_refusal_text(why));
	return 0;
}

static int attach_main(char **argv)
{
	struct options o;
	enum cli_parsed how;
	int rest, err;

	options_init(&o);
	how = cli_parse(&cli_attach, argv, &o, &rest);
	if (how != CLI_GO)
		return cli_exit(how);
	if (!argv[rest])
		return cli_usage_error("attach", "a process number is missing: see ps");
	if (argv[rest + 1])
		return cli_usage_error("attach", "'%s' is too much: one process at a time",
				       argv[rest + 1]);
	err = parse_pid(argv[rest], &o.cfg.attach_pid);
	if (err)
		return cli_usage_error("attach", "%s", err_text(err));
	err = check_process(o.cfg.attach_pid);
	if (!err)
		err = options_complete(&o);
	if (err)
		return cli_refuse("attach", "%s", err_text(err));
	return supervisor_main(&o.cfg);
}

const struct cli_command cli_attach = {
	.name = "attach",
	.summary = "Gives remote memory to a process that runs already.",
	.usage = "PID [OPTION]...",
	.examples = "  rmem attach 4711 --local 2G --remote 16G\n"
		    "  rmem attach $(pidof redis-server) --summary\n"
		    "  rmem attach 4711 --server shm:/run/rmem.sock --local 25%\n",
	.more = options_more,
	.option = options_table,
	.nr_options = OPTIONS_NR,
	.mixed = true,
	.main = attach_main,
};
