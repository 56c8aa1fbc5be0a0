#!/usr/bin/env python3
"""tools/spg-gdb.py on a live process and on a core file. Prints TAP.

B: the build folder. CC: the compiler. SPG_TEST_ONLY=name runs one test. Skips where gdb is not installed, or may not
debug.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

BUILD = os.environ.get("B", "build")
CC = os.environ.get("CC", "gcc")
SLOW = int(os.environ.get("CK_TIMEOUT_MULTIPLIER", "1"))
PATIENCE_S = 60 * SLOW
SCRIPT = "tools/spg-gdb.py"

# Optimised, without frame pointers: gdb unwinds by the debug information. main says when all
# others wait, and stays in a system call, so that it runs.
PROGRAM = r"""
#include <spg/spg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static spg_mutex held = SPG_MUTEX_INIT;

static __attribute__((noinline)) int deep(int left, spg_chan *c)
{
	volatile int mark = 4000 + left;
	int value;

	return left > 0 ? deep(left - 1, c) + mark : spg_chan_recv(c, &value) + mark;
}

static __attribute__((noinline)) void receive(void *c)
{
	spg_set_name("receiver");
	exit(deep(3, c));
}

static __attribute__((noinline)) void lock(void *arg)
{
	(void)arg;
	spg_mutex_lock(&held);
	abort();
}

static void never(void *arg)
{
	(void)arg;
}

static uint64_t parked(void)
{
	static spg_stats_t stats;

	return spg_stats(&stats) == 0 ? stats.total.parked : 0;
}

static __attribute__((noinline)) int stand_still(int how)
{
	if (how == 'a')
		abort();
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static int main_fn(void *how)
{
	spg_chan *c = spg_chan_new(sizeof(int), 0);

	spg_mutex_lock(&held);
	spg_go(receive, c);
	spg_go(receive, c);
	spg_go(lock, NULL);
	while (parked() != 3)
		spg_yield();
	spg_go(never, NULL);
	return stand_still(*(const char *)how);
}

int main(int argc, char **argv)
{
	spg_config cfg;

	(void)argc;
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	spg_config_init(&cfg);
	cfg.shards = 1;
	return spg_run(&cfg, main_fn, argv[1]);
}
"""

tests = []


class Skip(Exception):
    pass


def test(function):
    tests.append(function)
    return function


def path(name):
    return os.path.join(SCRATCH, name)


def build():
    with open(path("program.c"), "w", encoding="utf-8") as f:
        f.write(PROGRAM)
    subprocess.run([CC, "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Iruntime/include", path("program.c"), "-o",
                    path("program"), os.path.join(BUILD, "libspg.a"), "-l:libboost_context.a", "-luring", "-pthread"],
                   check=True)


def gdb(*arguments, script=SCRIPT):
    done = subprocess.run(["gdb", "-q", "-nx", "-batch", "-x", script, *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=False)
    text = done.stdout + done.stderr
    if re.search(r"ptrace: Operation not permitted|Could not attach|Could not trace", text):
        raise Skip("gdb may not debug here")
    return text


def commands(*texts):
    return [argument for text in texts for argument in ("-ex", text)]


def check_list(text):
    assert re.search(r'^coroutine \d+ "main" \[running, shard 0\]: main_coro', text, re.M), text
    assert len(re.findall(r'^coroutine \d+ "receiver" \[chan receive 0x[0-9a-f]+\]: receive$', text, re.M)) == 2, text
    assert re.search(r"^coroutine \d+ \[mutex 0x[0-9a-f]+\]: lock$", text, re.M), text
    assert re.search(r"^coroutine \d+ \[new\]: never$", text, re.M), text


def check_traces(text):
    """Of `coroutine apply all bt`: each trace under its title, counted from 0."""
    parts = re.split(r"^(?=coroutine \d+)", text, flags=re.M)[1:]
    assert len(parts) == 5, text
    for part in parts:
        frames = re.findall(r"^#(\d+)", part, re.M)
        assert frames == [str(i) for i in range(len(frames))], part
        if "[chan receive" in part:
            assert len(re.findall(r" in deep \(| deep \(", part)) == 4 and " receive (" in part, part
            assert "spg_chan_recv (" in part and "coro_entry (" in part, part
        elif "[mutex" in part:
            assert re.search(r" lock \(.*program\.c", part), part
        elif "[running" in part:
            assert " stand_still (" in part and " main_fn (" in part, part
        else:
            assert "never ran" in part, part


@test
def core_file():
    """gdb's own cores lack the memory around guards, the kernel's do not; with mprotect both have all."""
    environment = "set environment SPG_DISABLE guard_install"
    text = gdb(*commands(environment, "run a", f"generate-core-file {path('core')}"), path("program"))
    assert "Saved corefile" in text, text
    text = gdb(*commands("info coroutines"), path("program"), path("core"))
    check_list(text)
    text = gdb(*commands("coroutine apply all bt"), path("program"), path("core"))
    check_traces(text)


@test
def live_process():
    with subprocess.Popen([path("program"), "w"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            check_list(gdb("-p", str(process.pid), *commands("info coroutines")))
            check_traces(gdb("-p", str(process.pid), *commands("coroutine apply all bt")))
            assert process.poll() is None
        finally:
            process.kill()


@test
def locals_of_a_frame():
    """Any command runs in the coroutine; afterwards the thread is as it was."""
    text = gdb(*commands("run a", "info coroutines"), path("program"))
    number = re.search(r'^coroutine (\d+) "receiver"', text, re.M).group(1)
    text = gdb(*commands("run a", "echo <before>\\n", "bt", "echo <locals>\\n",
                         f"coroutine {number} frame function deep -- info locals", "echo <after>\\n", "bt",
                         "echo <end>\\n"), path("program"))
    before, inner, after = (re.search(f"<{a}>(.*)<{b}>", text, re.S).group(1)
                            for a, b in (("before", "locals"), ("locals", "after"), ("after", "end")))
    assert re.search(r"mark = 400[0-3]", inner), text
    assert before == after and "abort" in before, text


@test
def without_debug_information():
    """The tables are enough for the list, and for the names of functions."""
    subprocess.run(["objcopy", "--strip-debug", path("program"), path("bare")], check=True)
    check_list(gdb(*commands("run a", "info coroutines"), path("bare")))


@test
def mistakes():
    """Each is answered by a line, not by a Python traceback."""
    for command, answer in (("coroutine", "usage: "), ("coroutine x", "usage: "), ("coroutine 999 bt", "no coroutine 999"),
                            ("coroutine apply some bt", "usage: ")):
        text = gdb(*commands("run a", command), path("program"))
        assert answer in text and "Traceback" not in text, text
    text = gdb(*commands("info coroutines"), "/bin/true")
    assert "no spg__layout" in text and "Traceback" not in text, text


def skip_all():
    if shutil.which("gdb") is None:
        return "gdb is not installed"
    if "-fsanitize" in open(os.path.join(BUILD, "flags"), encoding="utf-8").read():
        return "the program is built without sanitizers"
    return None


def main():
    chosen = [function for function in tests
              if os.environ.get("SPG_TEST_ONLY") in (None, function.__name__)]
    reason = skip_all()
    failed = 0
    print(f"1..{len(chosen)}", flush=True)
    if reason is None:
        build()
    for number, function in enumerate(chosen, 1):
        verdict = "ok"
        try:
            if reason is not None:
                raise Skip(reason)
            function()
        except Skip as skip:
            print(f"SKIP {function.__name__}: {skip}", file=sys.stderr)
        except Exception:
            traceback.print_exc()
            verdict = "not ok"
            failed += 1
        print(f"{verdict} {number} - {function.__name__}", flush=True)
    return 1 if failed else 0


with tempfile.TemporaryDirectory(prefix="test_gdb.") as SCRATCH:
    result = main()
sys.exit(result)
