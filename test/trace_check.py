#!/usr/bin/env python3
"""trace_check FILE [WHAT=COUNT | WHAT>=COUNT]...: is it a trace as spg/debug.h promises?

Every slice ends on its track, innermost first; a track's times never go back; a coroutine runs
in one place at a time; arrows lead from a start to one run; operations begin, go on and end
under one name. WHAT: slices, loops, sleeps, arrows, lost, tracks; i:NAME instants, io:NAME
operations, run:NAME slices of that name, left:WHY slices that ended so, how:RESULT operations; whose: those of
which the coroutine is not known.
"""
import collections
import json
import re
import sys


class Checker:
    def __init__(self, events):
        self.events = events
        self.count = collections.Counter()
        self.stacks = collections.defaultdict(list)
        self.last = {}
        self.runs = collections.defaultdict(list)
        self.arrows = {}
        self.operations = {}
        self.results = collections.Counter()
        self.previous = {}

    def slice_begin(self, event):
        stack = self.stacks[event["tid"]]
        coroutine = event.get("args", {}).get("coroutine")
        if coroutine is not None:
            assert not stack, f"{event} inside {stack}"
            self.count["slices"] += 1
            self.count["run:" + event["name"]] += 1
        else:
            assert [e["name"] for e in stack] == {"loop": [], "sleep": ["loop"], "ready": []}[event["name"]]
            self.count[event["name"] + "s"] += 1
        stack.append(event)

    def slice_end(self, event):
        begin = self.stacks[event["tid"]].pop()
        assert event["ts"] >= begin["ts"], f"{event} before {begin}"
        coroutine = begin.get("args", {}).get("coroutine")
        if coroutine is not None:
            self.runs[coroutine].append((begin["ts"], event["ts"], begin["tid"]))
            self.count["left:" + event.get("args", {}).get("why", "?")] += 1

    def arrow_start(self, event):
        assert event["id"] not in self.arrows, f"{event} again"
        self.arrows[event["id"]] = event
        self.count["arrows"] += 1

    def arrow_end(self, event):
        start = self.arrows[event["id"]]
        assert start is not None and event["ts"] >= start["ts"], f"{event} after {start}"
        self.arrows[event["id"]] = None
        run = self.previous[event["tid"]]
        assert event["bp"] == "e" and run["ph"] == "B" and run["ts"] == event["ts"], f"{event} after {run}"
        assert run["args"]["coroutine"] == start["args"]["coroutine"], f"{start} leads to {run}"
        self.count["arrows ended"] += 1

    def operation(self, event):
        key = event["id"]
        if event["ph"] == "b":
            assert key not in self.operations, f"{event} again"
            self.operations[key] = event
            self.count["io:" + event["name"]] += 1
            assert "fd" in event["args"], event
            self.count["whose"] += event["args"]["coroutine"] == 0
            return
        begin = self.operations[key]
        assert begin is not None and begin["name"] == event["name"] and begin["cat"] == event["cat"], event
        assert event["ts"] >= begin["ts"], f"{event} before {begin}"
        if event["ph"] == "e":
            self.operations[key] = None
            self.count["ended"] += event["name"] in ("read", "write")
            self.count[f"how:{event['args']['result']}"] += 1
            self.results[event["name"], event["args"]["result"]] += 1

    def instant(self, event):
        assert event["s"] == "t", event
        self.count["i:" + event["name"]] += 1
        if event["name"] == "lost":
            self.count["told"] += event["args"]["events"]
        if event["name"] == "steal":
            self.count["stolen"] += event["args"]["coroutines"]

    def metadata(self, event):
        self.count["tracks"] += event["name"] == "thread_name"

    def run(self):
        kinds = {"B": self.slice_begin, "E": self.slice_end, "s": self.arrow_start, "f": self.arrow_end,
                 "b": self.operation, "n": self.operation, "e": self.operation, "i": self.instant,
                 "M": self.metadata}
        for event in self.events:
            kinds[event["ph"]](event)
            if event["ph"] == "M":
                continue
            if event["ph"] in "BEisf":
                # Operations are on a track of their own, whatever the thread.
                assert event["ts"] >= self.last.get(event["tid"], 0), f"{event}: the time went back"
                self.last[event["tid"]] = event["ts"]
            self.previous[event["tid"]] = event
        assert not any(self.stacks.values()), f"open: {self.stacks}"
        for coroutine, runs in self.runs.items():
            runs.sort()
            for one, other in zip(runs, runs[1:]):
                assert one[1] <= other[0], f"{coroutine} runs twice at once: {one}, {other}"
        open_operations = [op for op in self.operations.values() if op is not None]
        assert not open_operations, f"never ended: {open_operations}"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    assert set(document) == {"traceEvents", "displayTimeUnit", "otherData"}, document.keys()
    checker = Checker(document["traceEvents"])
    checker.run()
    checker.count["lost"] = document["otherData"]["lost"]
    assert checker.count["tracks"] == document["otherData"]["shards"] + 1
    assert checker.count["told"] == checker.count["lost"], checker.count
    failed = 0
    for argument in sys.argv[2:]:
        what, relation, number = re.fullmatch(r"(.+?)(>=|=)(\d+)", argument).groups()
        value = checker.count[what]
        if value != int(number) and not (relation == ">=" and value > int(number)):
            print(f"{sys.argv[1]}: {what} is {value}, expected {relation} {number}", file=sys.stderr)
            failed = 1
    if failed:
        print(f"results: {dict(checker.results)}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
