"""Coroutines in gdb: live processes and core files, optimised builds too.

	(gdb) source tools/spg-gdb.py
	(gdb) info coroutines
	(gdb) coroutine 17 bt              any gdb command, in the coroutine's innermost frame
	(gdb) coroutine 17 up 4            with -- before the next: coroutine 17 up 4 -- info locals
	(gdb) coroutine apply all bt

What it knows of the library it finds in the tables spg__layout and spg__layout_slabs, so the library needs no
debug information; the traces are as good as that of the program. A parked coroutine's frames are
unwound from its saved registers, by the same rules as any frames.
"""

import re

import gdb
import gdb.unwinder

POINTER = 8
NAME_BYTES = 16


class Memory:
    @staticmethod
    def number(address, size=POINTER):
        return int.from_bytes(gdb.selected_inferior().read_memory(address, size), "little")

    @staticmethod
    def text(address, limit=64):
        """Up to a NUL."""
        data = b""
        while len(data) < limit:
            byte = bytes(gdb.selected_inferior().read_memory(address + len(data), 1))
            if byte == b"\0":
                break
            data += byte
        return data.decode("utf-8", "replace")


class Layout:
    """The tables of the library: names and offsets, or addresses."""

    def __init__(self):
        try:
            address = int(gdb.parse_and_eval("(char *)&spg__layout"))
        except gdb.error as error:
            raise gdb.GdbError("no spg__layout: the program does not use spg, is stripped, "
                               "or has not been started") from error
        self.table = self.read(address)
        self.table |= self.read(self.table["slabs"])
        self.reasons = []
        for i in range(self.table["reasons_count"]):
            name = Memory.number(self.table["reasons"] + i * POINTER)
            self.reasons.append(Memory.text(name) if name else "?")

    @staticmethod
    def read(address):
        table = {}
        while Memory.number(address) != 0:
            table[Memory.text(Memory.number(address))] = Memory.number(address + POINTER)
            address += 2 * POINTER
        return table

    def __getitem__(self, name):
        return self.table[name]


def symbol(address):
    """name+offset, or the number."""
    text = gdb.execute(f"info symbol {address:#x}", to_string=True)
    found = re.match(r"(\S+)(?: \+ (\d+))? in section", text)
    if not found:
        return f"{address:#x}"
    name = found.group(1).split(".")[0]
    return f"{name}+{int(found.group(2)):#x}" if found.group(2) else name


class Coroutine:
    def __init__(self, layout, address, running):
        self.address = address
        self.layout = layout
        self.id = self.field("id")
        self.name = Memory.text(address + layout["coro.name"], NAME_BYTES)
        self.function = self.field("fn")
        self.creator = self.field("creator")
        self.context = self.field("context")
        self.reason = self.field("reason", 1)
        self.object = self.field("object")
        self.parked = self.field("state", 4) == layout["state.parked"]
        self.new = self.field("life", 1) == layout["life.new"]
        # The shard's number and its thread's, or None.
        self.shard, self.tid = running.get(address, (None, None))

    def field(self, name, size=POINTER):
        return Memory.number(self.address + self.layout["coro." + name], size)

    def state(self):
        if self.shard is not None:
            return f"running, shard {self.shard}"
        if self.parked:
            return self.layout.reasons[self.reason] + self.waits_on()
        return "new" if self.new else "runnable"

    def waits_on(self):
        """What the word `object` says, by the reason: a descriptor, a number, a time, or an address."""
        reason = self.layout.reasons[self.reason]
        if reason in ("I/O", "close"):
            fd = self.object & 0xffffffff
            return f", fd {fd}" if fd < 1 << 31 else ""
        if reason == "select":
            return f", {self.object} cases"
        return "" if reason == "sleep" or self.object == 0 else f" {self.object:#x}"

    def title(self):
        name = f' "{self.name}"' if self.name else ""
        return f"coroutine {self.id}{name} [{self.state()}]: {symbol(self.function)}"


def coroutines():
    """All that live, by id."""
    layout = Layout()
    running, found = {}, []
    shards = Memory.number(layout["shards"])
    for i in range(Memory.number(layout["shards_count"], 4)):
        shard = shards + i * layout["shard.size"]
        current = Memory.number(shard + layout["shard.current"])
        if current != 0:
            running[current] = (i, Memory.number(shard + layout["shard.tid"], 4))
    slab = Memory.number(layout["slab.newest"])
    while slab != 0:
        for i in range(Memory.number(slab + layout["slab.used"], 4)):
            address = slab + layout["slab.objects"] + i * layout["coro.size"]
            if Memory.number(address + layout["coro.life"], 1) != layout["life.free"]:
                found.append(Coroutine(layout, address, running))
        slab = Memory.number(slab + layout["slab.older"])
    return sorted(found, key=lambda coroutine: coroutine.id)


# What a saved context holds (coro/switch.h): its size, and registers by their place.
CONTEXTS = {
    "i386:x86-64": (0x40, {"r12": 0x08, "r13": 0x10, "r14": 0x18, "r15": 0x20, "rbx": 0x28, "rbp": 0x30,
                           "rip": 0x38}, "rsp"),
    "aarch64": (0xb0, {f"x{19 + i}": 0x40 + 8 * i for i in range(12)} | {"pc": 0xa0}, "sp"),
}


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class Unwinder(gdb.unwinder.Unwinder):
    """Makes the frame above the selected thread's innermost one that of a coroutine."""

    def __init__(self):
        super().__init__("spg coroutines")
        self.context = None
        self.innermost = None

    def start(self, context):
        frame = gdb.newest_frame()
        self.layout = CONTEXTS.get(frame.architecture().name())
        if self.layout is None:
            raise gdb.GdbError(f"contexts of {frame.architecture().name()} are not known")
        self.innermost = (int(frame.read_register(self.layout[2])), frame.pc())
        self.context = context
        gdb.invalidate_cached_frames()

    def stop(self):
        self.context = None
        gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.context is None:
            return None
        size, registers, stack = self.layout
        sp = pending.read_register(stack)
        pc = pending.read_register("pc")
        if (int(sp), int(pc)) != self.innermost:
            return None
        # Below all frames of the coroutine: gdb refuses callers that lie below their callees.
        unwound = pending.create_unwind_info(FrameId(gdb.Value(self.context - 16).cast(sp.type), pc))
        unwound.add_saved_register(stack, gdb.Value(self.context + size).cast(sp.type))
        for register, offset in registers.items():
            value = gdb.Value(Memory.number(self.context + offset))
            unwound.add_saved_register(register, value.cast(pending.read_register(register).type))
        return unwound


UNWINDER = Unwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


def trace_of(text, hidden):
    """A trace without its first frames, counted from 0 again; and without what no coroutine returns to."""
    kept, frame = [], 0
    for line in text.splitlines():
        number = re.match(r"#(\d+)\s+", line)
        if number:
            frame = int(number.group(1))
            line = f"#{frame - hidden:<3}{line[number.end():]}"
        if frame >= hidden and not re.match(r"#\d+\s+0x0+ in \?\? \(\)$", line):
            kept.append(line)
    return "\n".join(kept)


def execute(commands):
    for command in commands:
        text = gdb.execute(command, to_string=True)
        if command.split()[0] in ("bt", "backtrace", "where"):
            # The thread's own frame, of which the coroutine's are made the callers.
            text = trace_of(text, 0 if UNWINDER.context is None else 1)
        print(text.rstrip("\n"))


def thread_of(tid):
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] == tid or thread.ptid[2] == tid:
            return thread
    raise gdb.GdbError(f"no thread {tid}")


def within(coroutine, commands):
    """Runs commands in the coroutine's innermost frame."""
    before = gdb.selected_thread()
    if coroutine.shard is None and coroutine.new:
        print("never ran: it has no frames")
        return
    try:
        if coroutine.shard is not None:
            thread_of(coroutine.tid).switch()
        else:
            UNWINDER.start(coroutine.context)
            gdb.newest_frame().older().select()
        execute(commands)
    finally:
        UNWINDER.stop()
        if before is not None and before.is_valid():
            before.switch()


class InfoCoroutines(gdb.Command):
    """All coroutines: id, name, state, function."""

    def __init__(self):
        super().__init__("info coroutines", gdb.COMMAND_STATUS)

    def invoke(self, _argument, _from_tty):
        for coroutine in coroutines():
            print(coroutine.title())


class CoroutineCommand(gdb.Command):
    """coroutine ID COMMAND [-- COMMAND]..., or coroutine apply all COMMAND [-- COMMAND]...

Runs gdb commands in the innermost frame of a coroutine. Without a command: bt."""

    def __init__(self):
        super().__init__("coroutine", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        found = re.match(r"\s*(\d+|apply\s+all)\b\s*(.*)", argument, re.DOTALL)
        if not found:
            raise gdb.GdbError("usage: coroutine ID COMMAND, or coroutine apply all COMMAND")
        commands = [part.strip() for part in found.group(2).split(" -- ")] if found.group(2) else ["bt"]
        if found.group(1).isdigit():
            number = int(found.group(1))
            chosen = [coroutine for coroutine in coroutines() if coroutine.id == number]
            if not chosen:
                raise gdb.GdbError(f"no coroutine {number}")
        else:
            chosen = coroutines()
        for coroutine in chosen:
            if not found.group(1).isdigit():
                print(f"\n{coroutine.title()}")
            within(coroutine, commands)


InfoCoroutines()
CoroutineCommand()
