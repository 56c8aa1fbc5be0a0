"""Builds what the benchmarks run: the C rows, the echo peers, the Go and Rust twins."""

import glob
import os
import shutil
import subprocess
import sys

BENCH = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(BENCH)
C_FLAGS = ("-std=gnu11", "-O2", "-g", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-iquote", ".",
           "-iquote", os.environ.get("B", "build"), "-Iruntime/include")
LIBS = ("-l:libboost_context.a", "-luring", "-pthread")


def output(*argv):
    """The first line a program prints, or "" where it fails or is missing."""
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip().split("\n")[0] if done.returncode == 0 else ""


def rows_command(build_dir):
    """Builds the C rows with the library that is there."""
    rows = [os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(BENCH, "rows_*.c"))]
    return ["cc", *C_FLAGS, "bench/bench.c", "bench/streams.c", *rows, "-o", os.path.join(build_dir, "bench", "rows"),
            os.path.join(build_dir, "libspg.a"), *LIBS]


def build_without_trace(build_dir):
    """The rows with a library that has no trace compiled in. Returns its build folder."""
    without = os.path.join(build_dir, "notrace")
    os.makedirs(os.path.join(ROOT, without, "bench"), exist_ok=True)
    for step in (["make", "-s", "--no-print-directory", f"-j{os.cpu_count()}", f"B={without}", "CPPFLAGS=-DSPG__NO_TRACE",
                  os.path.join(without, "libspg.a")], rows_command(without)):
        subprocess.run(step, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return without


def build(build_dir):
    """Builds the programs of the lanes; returns which toolchains are there."""
    target = os.path.join(build_dir, "bench")
    library = os.path.join(build_dir, "libspg.a")
    os.makedirs(os.path.join(ROOT, target), exist_ok=True)
    steps = [
        ["make", "-s", "--no-print-directory", f"B={build_dir}", library,
         *(os.path.join(build_dir, tool) for tool in ("echo", "echo_pthread", "load", "httpd", "httpd_pthread", "du"))],
        rows_command(build_dir),
        ["cc", *C_FLAGS, "bench/echo_uring.c", "-o", os.path.join(target, "echo_uring"), "-luring"],
        ["cc", *C_FLAGS, "bench/read_uring.c", "-o", os.path.join(target, "read_uring"), "-luring"],
        ["cc", *C_FLAGS, "bench/echo_epoll.c", "-o", os.path.join(target, "echo_epoll")],
        ["cc", *C_FLAGS, "bench/accept_load.c", "tools/load/server.c", "-o", os.path.join(target, "accept_load")],
        ["cc", *C_FLAGS, "bench/place.c", "-o", os.path.join(target, "place"), library, *LIBS],
        ["cc", *C_FLAGS, "bench/peer.c", "-o", os.path.join(target, "peer"), "-pthread"]]
    twins = {"go": ["go", "build", "-o", os.path.join(ROOT, target, "spgbench"), "."],
             "cargo": ["cargo", "build", "--release", "--locked", "--quiet",
                       "--target-dir", os.path.join(ROOT, target, "rust")]}
    have = {tool for tool in twins if shutil.which(tool)}
    steps += [twins[tool] for tool in sorted(have)]
    for tool, what in (("go", "Go"), ("cargo", "Rust (cargo)")):
        if tool not in have:
            print(f"no {what} here: its twins are skipped")
    for tool in ("wrk", "nginx", "hyperfine", "du"):
        if shutil.which(tool):
            have.add(tool)
        else:
            print(f"no {tool} here: its rows are skipped (tools/setup bench installs it)")
    where = {"go": os.path.join(BENCH, "go"), "cargo": os.path.join(BENCH, "rust")}
    for step in steps:
        if subprocess.run(step, cwd=where.get(step[0], ROOT), check=False).returncode != 0:
            if step[0] != "cargo":
                sys.exit(f"bench/run: failed: {' '.join(step)}")
            print("the Rust twins could not be built (no registry?): they are skipped")
            have.discard("cargo")
    return have
