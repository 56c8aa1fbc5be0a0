#!/usr/bin/env python3
"""The static probes of the library, as readelf sees them; the one-liners of docs/probes.md, where
bpftrace may run: on an echo server under load. Prints TAP.

B: the build folder.
"""
import os
import re
import shutil
import subprocess
import sys

BUILD = os.environ.get("B", "build")
# docs/probes.md: the names, and how many arguments.
PROBES = {"spawn": 3, "end": 1, "park": 3, "ready": 2, "run": 3, "steal": 3, "op_submit": 3, "op_complete": 3,
          "kick": 1}


def notes(path):
    """(name, number of arguments) of each probe of the provider spg."""
    text = subprocess.run(["readelf", "-n", path], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = re.findall(r"Provider: spg\s+Name: (\w+)\s+Location: \S+ Base: \S+ Semaphore: \S+\s+Arguments:(.*)", text)
    return [(name, len(arguments.split())) for name, arguments in found]


def documented():
    with open("docs/probes.md", encoding="utf-8") as file:
        return set(re.findall(r"^\| `(\w+)` \|", file.read(), re.M))


def one_liners():
    """The programs of docs/probes.md."""
    with open("docs/probes.md", encoding="utf-8") as file:
        return re.findall(r"^    bpftrace -e '(.*?)'$", file.read(), re.M | re.S)


def right(program):
    """Does it use probes that exist, and no argument that they lack?"""
    for names, body in re.findall(r"((?:usdt:L:spg:\w+[,\s]*)+)([^{]*\{.*?\})", program, re.S):
        for name in re.findall(r"spg:(\w+)", names):
            arguments = [int(number) for number in re.findall(r"\barg(\d)", body)]
            if name not in PROBES or any(number >= PROBES[name] for number in arguments):
                print(f"{name} {arguments}: {program}", file=sys.stderr)
                return False
    return "usdt:L:spg:" in program


def run_bpftrace(program, seconds):
    """What it printed, or None and the reason on stderr."""
    code = program.replace("usdt:L:", f"usdt:{os.path.join(BUILD, 'echo')}:") + f" interval:s:{seconds} {{ exit(); }}"
    done = subprocess.run(["bpftrace", "-e", code], capture_output=True, text=True, timeout=60, check=False)
    if "@" in done.stdout or done.returncode == 0:
        return done.stdout
    print(done.stderr.strip()[:500], file=sys.stderr)
    return None


def bpftrace_works():
    if shutil.which("bpftrace") is None:
        return "there is no bpftrace here"
    if os.path.basename(BUILD) in ("asan", "tsan"):
        return "once, without sanitizers, is enough"
    with Echo() as echo:
        seen = echo.during(lambda: run_bpftrace("usdt:L:spg:run { @runs = count(); }", 1))
    return None if seen and "@runs: " in seen else "bpftrace may not run here"


class Echo:
    """An echo server that is kept busy."""

    def __enter__(self):
        self.server = subprocess.Popen([os.path.join(BUILD, "echo")], stdout=subprocess.PIPE, text=True,
                                       env=os.environ | {"SPG_SHARDS": "2"})
        self.address = self.server.stdout.readline().split()[-1]
        return self

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait(10)

    def during(self, work):
        load = subprocess.Popen([os.path.join(BUILD, "load"), self.address, "--connections", "8", "--seconds", "60"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return work()
        finally:
            load.terminate()
            load.wait(10)


def outputs():
    """Each one-liner has something to tell, but those about what hardly happens."""
    rare = ("10000000", "< 0")
    for program in one_liners():
        with Echo() as echo:
            text = echo.during(lambda: run_bpftrace(program, 2))
        if text is None or ("@" not in text.replace("@at", "") and not any(part in program for part in rare)):
            print(f"nothing came of {program}: {text}", file=sys.stderr)
            return False
    return True


def main():
    with open(os.path.join(BUILD, "spg_probe.h"), encoding="utf-8") as file:
        built = "SPG__HAVE_SDT 1" in file.read()
    if not built:
        print("SKIP every_probe_has_a_note: there is no sys/sdt.h here", file=sys.stderr)
    # The sanitizers' builds have no shared library: a program that holds all of it will do.
    library = os.path.join(BUILD, "libspg.so")
    found = notes(library if os.path.exists(library) else os.path.join(BUILD, "echo"))
    results = [
        ("every_probe_has_a_note_with_its_arguments", set(found) == (set(PROBES.items()) if built else set())),
        ("every_probe_is_documented", documented() == set(PROBES)),
        ("one_liners_use_probes_and_arguments_that_exist",
         len(one_liners()) >= 5 and all(right(program) for program in one_liners())),
    ]
    reason = bpftrace_works() if built else "there is no sys/sdt.h here"
    if reason is None:
        results.append(("one_liners_work", outputs()))
    else:
        print(f"SKIP one_liners_work: {reason}", file=sys.stderr)
    print(f"1..{len(results)}")
    for number, (name, passed) in enumerate(results, 1):
        print(f"{'ok' if passed else 'not ok'} {number} - {name}")
    if not all(passed for _, passed in results):
        print(f"found {sorted(set(found))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
