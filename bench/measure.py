"""Runs one lane once and returns its report: programs that measure themselves, echo servers, parked crowds.

bench/http_server.py has the file servers, bench/lanes.py knows them all.
"""

import json
import os
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass

TIMEOUT_S = 300
IDLE_S = 5
QUICK_MS = "50"
PROGRAM_RUNS = (2, 20)  # of a whole program, by hyperfine, in a round: as many as fit into a second


class Failed(Exception):
    """A lane that could not be measured."""


class Skipped(Exception):
    """A lane that has nothing to measure here: it says why."""


@dataclass(frozen=True)
class Context:
    build: str
    quick: bool

    def argv(self, one):
        words = [word.replace("{build}", self.build) for word in one.argv]
        if self.quick and one.kind in ("line", "peer"):
            words += ["--min-ms", QUICK_MS]
        return (["taskset", "-c", one.cpus] if one.cpus else []) + words

    @staticmethod
    def env(one):
        return os.environ | dict(one.env)


def last_json(text, argv):
    for candidate in reversed(text.strip().split("\n")):
        if candidate.startswith("{"):
            return json.loads(candidate)
    raise Failed(f"no result from {' '.join(argv)}")


def finish(argv, env):
    """Runs a program to its end and returns what it printed."""
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise Failed(str(err)) from err
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def line(one, _group, context):
    """A program that measures itself."""
    argv = context.argv(one)
    report = last_json(finish(argv, context.env(one)), argv)
    if "skipped" in report:
        raise Skipped(report["skipped"])
    if report.get("bytes_each_half"):
        report["growth"] = report["bytes_each"] / report["bytes_each_half"]
    return report


def start(one, context, **pipes):
    try:
        return subprocess.Popen(context.argv(one), env=context.env(one), text=True,
                                stdout=subprocess.PIPE, **pipes)
    except OSError as err:
        raise Failed(str(err)) from err


def stop(process):
    """Ends a program that was started here."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


PEER_CPU = "1"


def peer(one, _group, context):
    """A client that measures itself against the echo peer, which is bound to a CPU."""
    process = subprocess.Popen(["taskset", "-c", PEER_CPU, os.path.join(context.build, "bench", "peer")],
                               text=True, stdout=subprocess.PIPE)
    try:
        address = listening(process, "peer")
        argv = context.argv(one) + ["--addr", address, "--peer-pid", str(process.pid)]
        return last_json(finish(argv, context.env(one)), argv)
    finally:
        stop(process)


def listening(process, name):
    """The address a server announces."""
    greeting = process.stdout.readline()
    address = greeting.strip().rsplit(" ", 1)[-1]
    if ":" not in address:
        raise Failed(f"{name} does not listen: {greeting!r}")
    return address


def echo(one, group, context):
    """A server on its CPU, the load client on CPU 1. The client verifies every byte."""
    process = start(one, context)
    try:
        address = listening(process, one.name)
        return LOADS[group.load](address, group.conns, process.pid, context)
    finally:
        stop(process)


def load(address, conns, pid, context):
    """Requests of 256 bytes on connections that stay."""
    argv = ["taskset", "-c", "1", f"{context.build}/load", address, "--connections", str(conns),
            "--bytes", "256", "--seconds", "0.5" if context.quick else "1", "--warmup", "0.3",
            "--server-pid", str(pid), "--json"]
    return served(last_json(finish(argv, os.environ), argv))


def churn(address, conns, pid, context):
    """Connections that come and go, so many at a time."""
    argv = ["taskset", "-c", "1", f"{context.build}/bench/accept_load", address, "--open", str(conns),
            "--seconds", "0.5" if context.quick else "1", "--server-pid", str(pid)]
    return served(last_json(finish(argv, os.environ), argv))


LOADS = {"load": load, "churn": churn}


def served(report):
    """What a load client says of a server, by the names of the rows."""
    if report["mismatches"] or not report["requests"]:
        raise Failed(f"{report['requests']} requests, {report['mismatches']} wrong replies")
    report["cpu_ns_per_op"] = report["server_cpu_ns"]
    report["switches_per_op"] = report["server_switches"]
    report["rss_kib"] = report.get("rss_peak_kib", report["rss_kib"])
    return report


def program(one, _group, context):
    """A whole program, several times: hyperfine's medians of wall time and of CPU time."""
    argv = context.argv(one)
    start = time.monotonic()
    once = last_json(finish(argv, context.env(one)), argv)
    fewest, most = PROGRAM_RUNS
    fit = int((0.2 if context.quick else 1.0) / (time.monotonic() - start))
    with tempfile.TemporaryDirectory() as tmp:
        found = os.path.join(tmp, "times.json")
        finish(["hyperfine", "-N", "--style", "none", "--runs", str(min(max(fit, fewest), most)), "--export-json", found,
                shlex.join(argv)], context.env(one))
        with open(found, encoding="utf-8") as f:
            times = json.load(f)["results"][0]
    return {"ns_per_op": times["median"] * 1e9, "cpu_ns_per_op": (times["user"] + times["system"]) * 1e9,
            "checksum": once["checksum"], "threads": once.get("threads", 0), "rss_kib": once.get("rss_kib", 0)}


def thread(base):
    """Of a thread: name, CPU ns, context switches."""
    with open(base + "comm", encoding="utf-8") as f:
        name = f.read().strip()
    with open(base + "schedstat", encoding="utf-8") as f:
        cpu = int(f.read().split()[0])
    with open(base + "status", encoding="utf-8") as f:
        switches = sum(int(text.split()[1]) for text in f if "ctxt_switches" in text)
    return name, cpu, switches


def threads(pid):
    """Of each thread that lives on: name, CPU ns, context switches."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            found.append(thread(f"/proc/{pid}/task/{tid}/"))
        except (FileNotFoundError, ProcessLookupError):
            pass  # ended meanwhile
    return found


def idle(one, _group, context):
    """Watches a parked crowd from outside for some seconds, then wakes it and takes its sum."""
    process = start(one, context, stdin=subprocess.PIPE)
    try:
        if process.stdout.readline().strip() != "ready":
            raise Failed(f"{one.name}: the crowd never got ready")
        time.sleep(2)
        before = threads(process.pid)
        time.sleep(IDLE_S)
        after = threads(process.pid)
        rest, _ = process.communicate("go on\n", TIMEOUT_S)
    finally:
        stop(process)
    if process.returncode != 0:
        raise Failed(f"{one.name} ended with {process.returncode}")
    report = last_json(rest, context.argv(one))
    workers = [t for t in after if t[0].startswith("iou-wrk")]
    report["cpu_ms"] = (sum(t[1] for t in after) - sum(t[1] for t in before)) / 1e6
    report["switches"] = sum(t[2] for t in after) - sum(t[2] for t in before)
    report["iou_wrk_threads"] = len(workers)
    report["threads"] = len(after) - len(workers)
    report["thread_names"] = sorted(t[0] for t in after)
    # The caller of spg_run, the watchdog, the shards and the pool are expected.
    expected = 2 + report.get("shards", 0) + report.get("pool_threads", 0)
    report["threads_other"] = report["threads"] - expected
    return report
