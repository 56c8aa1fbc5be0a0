#!/usr/bin/env python3
"""tools/scaling-model: the same numbers each time, its invariants, the measured runs of two shards
within the stated errors, and that the designs it found wanting still fail in it. Prints TAP.
"""
import importlib.machinery
import importlib.util
import json
import sys

LOADER = importlib.machinery.SourceFileLoader("scaling_model", "tools/scaling-model")
sys.dont_write_bytecode = True
model = importlib.util.module_from_spec(importlib.util.spec_from_loader("scaling_model", LOADER))
LOADER.exec_module(model)

with open(model.DATA, encoding="utf-8") as file:
    DATA = json.load(file)
COSTS = DATA["costs"]


def workloads(shards):
    return [model.Fanout(8 * shards, 2, 100000), model.Pairs(shards, 50), model.Inject(500, 5000),
            model.Events(5, 50000, 2000)]


def the_same_seed_gives_the_same_numbers():
    first = [model.simulate(COSTS, 16, work, seed=7) for work in workloads(16)]
    again = [model.simulate(COSTS, 16, work, seed=7) for work in workloads(16)]
    other = [model.simulate(COSTS, 16, work, seed=8) for work in workloads(16)]
    return first == again and first != other


def everything_started_ends():
    return all(model.simulate(COSTS, n, work, seed)["left"] == 0
               for n in (1, 2, 3, 8, 33) for seed in (1, 2) for work in workloads(n))


def counts_are_bounded():
    """At most the stated looks an attempt, one batch a win; nobody is faster than all CPUs together."""
    for n in (2, 8, 64):
        out = model.simulate(COSTS, n, model.Fanout(16 * n, 2, 100000))
        if (out["probes"] > out["tried"] * model.LOOKS_MAX or out["stolen"] > out["won"] * model.BATCH or
                out["wall_ns"] < 100000 / n or out["masks_busy"] > 1):
            return False
    return True


def the_measured_runs_are_reproduced():
    far = [row for row in model.compare(DATA) if not row[-1]]
    print(far, file=sys.stderr)
    return not far


def a_batch_that_all_goes_to_the_queue_is_stolen_around():
    """Several thefts for each coroutine; without a queue for the first, less than one."""
    around, once = (model.simulate(COSTS, 64, model.Fanout(4 * 64, 2, 100000), looks=64, one_first=first)
                    for first in (False, True))
    print(around["won"], once["won"], file=sys.stderr)
    return around["won"] > 2 and once["won"] < 1


def a_finder_that_looks_no_further_leaves_shards_asleep():
    late = model.simulate(COSTS, 64, model.Fanout(64, 1, 1000000), passing_on=False)
    soon = model.simulate(COSTS, 64, model.Fanout(64, 1, 1000000))
    return late["wall_ns"] * 64 > 1.9e6 and soon["wall_ns"] * 64 < 1.5e6


def main():
    tests = [the_same_seed_gives_the_same_numbers, everything_started_ends, counts_are_bounded,
             the_measured_runs_are_reproduced, a_batch_that_all_goes_to_the_queue_is_stolen_around,
             a_finder_that_looks_no_further_leaves_shards_asleep]
    print(f"1..{len(tests)}")
    passed = []
    for number, test in enumerate(tests, 1):
        passed.append(test())
        print(f"{'ok' if passed[-1] else 'not ok'} {number} - {test.__name__}", flush=True)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
