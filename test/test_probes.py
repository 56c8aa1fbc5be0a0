#!/usr/bin/env python3
"""The static probes of the library, as readelf sees them. Prints TAP.

B: the build folder.
"""
import os
import re
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
    ]
    print(f"1..{len(results)}")
    for number, (name, passed) in enumerate(results, 1):
        print(f"{'ok' if passed else 'not ok'} {number} - {name}")
    if not all(passed for _, passed in results):
        print(f"found {sorted(set(found))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
