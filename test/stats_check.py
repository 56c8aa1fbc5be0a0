#!/usr/bin/env python3
"""stats_check json|prometheus FILE SHARDS: are the counters as spg/debug.h promises?

The fields are those of the header's structs, all of them.
"""
import json
import re
import sys

TOTAL_ONLY = {"live", "parked", "stack_bytes", "stacks_cached", "blocking_threads", "blocking_queued",
              "blocking_done", "overloaded", "spawned_foreign", "calls", "calls_overloaded", "calls_timed_out",
              "calls_canceled", "calls_closed"}


def fields(struct):
    with open("runtime/include/spg/debug.h", encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    body = re.search(r"struct %s \{(.*?)\};" % struct, text, re.S).group(1)
    return {name.strip() for line in re.findall(r"uint64_t ([^;]+);", body) for name in line.split(",")}


def no_duplicates(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), keys
    return dict(pairs)


def check_json(text, shards):
    document = json.loads(text, object_pairs_hook=no_duplicates)
    assert text.endswith("}\n") and text.count("\n") == 1
    assert document["version"] == 1 and document["shards"] == shards
    every = fields("spg_shard_stats")
    assert set(document["total"]) == every, set(document["total"]) ^ every
    assert len(document["shard"]) == shards
    for shard in document["shard"]:
        assert set(shard) == every - TOTAL_ONLY, set(shard) ^ every
        assert all(isinstance(value, int) and value >= 0 for value in shard.values())
    for name in every - TOTAL_ONLY - {"spawned", "steals_failed_streak_max", "runnable"}:
        assert document["total"][name] == sum(shard[name] for shard in document["shard"]), name
    assert set(document["config"]) == fields("spg_steal_config")
    assert set(document["ratios"]) == {"steal_success_rate", "local_hit_ratio", "steals_per_scan", "queued",
                                       "queued_max", "inflight_max"}
    assert 0 <= document["ratios"]["local_hit_ratio"] <= 1
    assert 0 <= document["ratios"]["steal_success_rate"] <= 1


def check_prometheus(text, shards):
    kinds, samples = {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("#"):
            word, name, rest = re.fullmatch(r"# (HELP|TYPE) (\w+) (.+)", line).groups()
            if word == "TYPE":
                assert name not in kinds and rest in ("counter", "gauge"), line
                kinds[name] = rest
            continue
        name, label, value = re.fullmatch(r'(\w+)(\{shard="\d+"\})? (\d+)', line).groups()
        assert name in kinds and (name, label) not in samples, line
        assert (kinds[name] == "counter") == name.endswith("_total"), line
        samples[name, label] = int(value)
    assert samples["spg_shards", None] == shards
    names = {name.removeprefix("spg_").removesuffix("_total") for name, _ in samples} - {"shards"}
    every = fields("spg_shard_stats")
    assert names == every, names ^ every
    for name in every:
        labels = {label for other, label in samples if other in (f"spg_{name}", f"spg_{name}_total")}
        assert labels == ({None} if name in TOTAL_ONLY else {f'{{shard="{i}"}}' for i in range(shards)}), name


def main():
    kind, path, shards = sys.argv[1:4]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    (check_json if kind == "json" else check_prometheus)(text, int(shards))


if __name__ == "__main__":
    main()
