"""Runs one lane once and returns its report."""

import json
import os
import subprocess
import time
from dataclasses import dataclass

TIMEOUT_S = 300
IDLE_S = 5


class Failed(Exception):
    """A lane that could not be measured."""


@dataclass(frozen=True)
class Context:
    build: str
    quick: bool

    def argv(self, one):
        words = [word.format(build=self.build) for word in one.argv]
        return (["taskset", "-c", one.cpus] if one.cpus else []) + words

    @staticmethod
    def env(one):
        return os.environ | dict(one.env)


def lane(one, group, context):
    return {"line": line, "echo": echo, "idle": idle}[one.kind](one, group, context)


def last_json(text, argv):
    for candidate in reversed(text.strip().split("\n")):
        if candidate.startswith("{"):
            return json.loads(candidate)
    raise Failed(f"no result from {' '.join(argv)}")


def line(one, _group, context):
    """A program that measures itself."""
    argv = context.argv(one)
    try:
        done = subprocess.run(argv, env=context.env(one), capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{' '.join(argv)} took more than {TIMEOUT_S} s") from late
    except OSError as err:
        raise Failed(str(err)) from err
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    report = last_json(done.stdout, argv)
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


def cpu_ns(pid):
    """CPU time of a process, all its threads: clock_getcpuclockid(3)."""
    return time.clock_gettime_ns(~pid << 3 | 2)


def echo(one, group, context):
    """A server on its CPU, the load client on CPU 1. The client verifies every byte."""
    process = start(one, context)
    try:
        greeting = process.stdout.readline()
        address = greeting.strip().rsplit(" ", 1)[-1]
        if ":" not in address:
            raise Failed(f"{one.name} does not listen: {greeting!r}")
        load(address, group.conns, 0.3, process.pid, context)
        return load(address, group.conns, 1 if context.quick else 2, process.pid, context)
    finally:
        stop(process)


def load(address, conns, seconds, pid, context):
    argv = ["taskset", "-c", "1", f"{context.build}/load", address, "--connections", str(conns),
            "--bytes", "256", "--seconds", str(seconds), "--server-pid", str(pid), "--json"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise Failed(str(err)) from err
    if done.returncode != 0:
        raise Failed(f"load ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return last_json(done.stdout, argv)


def threads(pid):
    """Of each thread: name, CPU ns, context switches."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        base = f"/proc/{pid}/task/{tid}/"
        with open(base + "comm", encoding="utf-8") as f:
            name = f.read().strip()
        with open(base + "schedstat", encoding="utf-8") as f:
            cpu = int(f.read().split()[0])
        with open(base + "status", encoding="utf-8") as f:
            switches = sum(int(text.split()[1]) for text in f if "ctxt_switches" in text)
        found.append((name, cpu, switches))
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
    # The caller of spg_run, the watchdog, and the shards are expected; the rest is the pool.
    report["threads_other"] = report["threads"] - report.get("shards", 0) - 2
    return report
