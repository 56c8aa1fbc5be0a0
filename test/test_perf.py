#!/usr/bin/env python3
"""perf's profile by frame pointers of an echo server under load: each stack of a coroutine goes down to
coro_entry and its return address 0, the marked end. Prints TAP.

B: the build folder.
"""
import os
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ.get("B", "build")
# What an echo does is in these, called by the coroutine's function.
CALLS = ("spg_read", "spg_write", "spg_write_all")
SAMPLES_MIN = 5


def record(data):
    """Profiles by the clock, which needs no counters of the CPU. perf's own words, and whether it worked."""
    with subprocess.Popen([os.path.join(BUILD, "echo")], stdout=subprocess.PIPE, text=True,
                          env=os.environ | {"SPG_SHARDS": "1"}) as server:
        address = server.stdout.readline().split()[-1]
        with subprocess.Popen([os.path.join(BUILD, "load"), address, "--connections", "8", "--seconds", "60"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as load:
            done = subprocess.run(["perf", "record", "-q", "-e", "cpu-clock:u", "-F", "2000", "--call-graph", "fp",
                                   "-o", data, "-p", str(server.pid), "--", "sleep", "3"],
                                  capture_output=True, text=True, timeout=60, check=False)
            load.terminate()
        server.terminate()
    return done.stderr, done.returncode == 0


def stacks(data):
    """Lists of functions, the innermost first; "0" is a return address of 0."""
    text = subprocess.run(["perf", "script", "--no-inline", "-i", data, "-F", "ip,sym"], capture_output=True,
                          text=True, timeout=120, check=True).stdout
    for sample in text.split("\n\n"):
        lines = [line.split(None, 1) for line in sample.strip().splitlines()]
        yield ["0" if line[0] == "0" else line[1].split(".")[0] for line in lines if len(line) == 2]


def check(data):
    """true: enough were seen, and all end where they should."""
    seen = called = 0
    for stack in stacks(data):
        if not any(call in stack for call in CALLS):
            continue
        seen += 1
        # Between the begin of a function and its frame the caller is not seen.
        called += "echo" in stack
        if stack[-2:] != ["coro_entry", "0"]:
            print(f"a stack that ends elsewhere: {stack}", file=sys.stderr)
            return False
    print(f"{seen} stacks, {called} of them through echo", file=sys.stderr)
    return seen >= SAMPLES_MIN and called > seen / 2


def main():
    reason = None
    passed = True
    if shutil.which("perf") is None:
        reason = "there is no perf here"
    elif os.path.basename(BUILD) in ("asan", "tsan"):
        reason = "once, without sanitizers, is enough"
    else:
        with tempfile.TemporaryDirectory() as folder:
            data = os.path.join(folder, "data")
            said, worked = record(data)
            if not worked or not os.path.exists(data):
                reason = f"perf may not run here: {said.strip()[:200]}"
            else:
                passed = check(data)
    if reason is not None:
        print(f"SKIP stacks_go_down_to_the_marked_end: {reason}", file=sys.stderr)
    print("1..1")
    print(f"{'ok' if passed else 'not ok'} 1 - stacks_go_down_to_the_marked_end")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
