"""Runs programs that count a tree of files, as a whole: tools/du and its twins."""

import atexit
import functools
import os
import shutil
import tempfile
import time

from measure import finish


@functools.cache
def tree_dir():
    """100,000 entries: 1,100 folders, files of up to one block. Gone when the program ends."""
    root = tempfile.mkdtemp(prefix="spg-bench-tree-")
    atexit.register(shutil.rmtree, root)
    for top in range(100):
        for mid in range(10):
            folder = os.path.join(root, f"folder-{top}", f"{mid}")
            os.makedirs(folder)
            # 1,100 folders, and 98 or 99 files in each of the inner ones.
            for n in range(98 + (mid < 9)):
                with open(os.path.join(folder, f"file-{n}.txt"), "wb") as f:
                    f.write(b"x" * (n % 5 * 100))
    os.sync()
    return root


def tree(one, _group, context):
    """A program that counts the tree, as a whole: start, work, end. It prints "KiB, tab, path"."""
    root = tree_dir()
    argv = [word.format(dir=root) for word in context.argv(one)]
    finish(argv, context.env(one))
    wall_ns = cpu_ns = runs = 0
    while wall_ns < (3e8 if context.quick else 1e9):
        before, begin_ns = os.times(), time.monotonic_ns()
        text = finish(argv, context.env(one))
        wall_ns += time.monotonic_ns() - begin_ns
        after = os.times()
        cpu_ns += round(1e9 * (after.children_user - before.children_user +
                               after.children_system - before.children_system))
        runs += 1
    return {"ns_per_op": wall_ns / runs / 1e5, "cpu_ns_per_op": cpu_ns / runs / 1e5, "checksum": text.split()[0]}
