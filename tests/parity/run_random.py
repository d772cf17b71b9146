#!/usr/bin/env python3
"""run_random.py - random sequences of calls, natively and under ztcp_run, compared and shrunk

usage: run_random.py [options] [SEED or FIRST-LAST ...]      (default: 1-200)
  --mode M      default, lift0, chaos or kernel; may be given several times (default: the first three)
  --calls N     calls in a sequence (default 200)
  --jobs N      sequences at once (default: one a processor)
  --build DIR   the build folder (default: $ZTCP_BUILD, or build/release of this tree)
  --minutes N   new seeds, drawn from the clock, for so long
  --skip LIST   calls to leave out, for a sequence that was shrunk (one seed)
  --whole       do not shrink what differs
  --again N     what differs is run N times more, beside new native runs, and fails only if it differs each time; a sequence
                whose native runs differ gets N more chances

A sequence whose native runs differ is left out and counted. What differs wrapped is run again, natively and wrapped; if it
differs each time, calls are dropped as long as it still does, and what is left is printed with the command that repeats
it. What differed only once is printed with its first different line, and fails too.
"""
import argparse
import concurrent.futures
import os
import random
import subprocess
import sys
import time

TREE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
MODES = {"default": {}, "lift0": {"ZTCP_LIFT": "0"}, "chaos": {"ZTCP_CHAOS": "1"}, "kernel": {"ZTCP_PATH": "kernel"}}
AGAIN = 6  # runs in which a difference is looked for again


class Runner:
    def __init__(self, options):
        self.program = os.path.join(options.build, "tests", "bin", "random_calls")
        self.wrapper = os.path.join(options.build, "bin", "ztcp_run")
        self.calls = options.calls
        self.skip = options.skip
        self.again = options.again

    def run(self, seed, mode=None, skip=""):
        command = [self.program, str(seed), str(self.calls), skip or self.skip]
        environment = dict(os.environ)
        if mode:
            command.insert(0, self.wrapper)
            environment.update(MODES[mode])
            if mode == "chaos":
                environment["ZTCP_CHAOS"] = str(seed)
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=300, check=False)
        return done.stdout.decode(errors="replace") + f"status {done.returncode}\n"

    def native(self, seed, skip=""):
        """What the kernel says, None if it does not always say the same or a call would wait."""
        first = self.run(seed, skip=skip)
        if "harness:" in first or "WRONG" in first or first != self.run(seed, skip=skip):
            return None
        return first

    def differs(self, seed, mode, skip, number=None):
        """Whether it differs, and first at the call of this number: else one difference shrinks into another."""
        want = self.native(seed, skip)
        if want is None:
            return False
        # A difference that comes now and then gets a few chances; the native side must stand by its word.
        for _ in range(AGAIN):
            got = self.run(seed, mode, skip)
            if got != want and number in (None, first_difference(want, got)[0].split(" ", 1)[0]):
                return self.native(seed, skip) == want
        return False

    def shrink(self, seed, mode, number):
        """The calls to leave out: ever smaller ranges of them, as long as it still differs."""
        last = int(number) if number.isdigit() else self.calls - 1
        gone = set(range(last + 1, self.calls))
        size = max(1, last // 2)
        while True:
            dropped = False
            for first in range(0, last + 1, size):
                part = set(range(first, min(first + size, last + 1))) - gone
                if part and self.differs(seed, mode, listed(gone | part), number):
                    gone |= part
                    dropped = True
            if size == 1 and not dropped:
                return listed(gone)
            size = max(1, size // 2)


def listed(numbers):
    """3,5-9 for a set of numbers."""
    ranges = []
    for n in sorted(numbers):
        if ranges and n == ranges[-1][1] + 1:
            ranges[-1][1] = n
        else:
            ranges.append([n, n])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def first_difference(want, got):
    want, got = want.splitlines(), got.splitlines()
    for i, line in enumerate(want):
        if i >= len(got) or got[i] != line:
            return line, got[i] if i < len(got) else "(nothing)"
    return "(nothing)", got[len(want)] if len(got) > len(want) else "(nothing)"


def judge_once(runner, seed, modes):
    """Lines of what differed by mode, or None if the native runs differed: it proves nothing."""
    want = runner.native(seed)
    if want is None:
        return None
    bad = {}
    for mode in modes:
        for turn in range(runner.again + 1):
            got = runner.run(seed, mode)
            if got == want:
                bad.pop(mode, None)
                break
            if runner.native(seed) != want:
                return None
            bad[mode] = first_difference(want, got)
            if turn < runner.again:
                print(f"seed {seed} mode {mode} differs:\n- {bad[mode][0]}\n+ {bad[mode][1]}", flush=True)
    return bad


def judge(runner, seed, modes):
    for _ in range(runner.again + 1):
        bad = judge_once(runner, seed, modes)
        if bad is not None:
            break
    return seed, bad


def report(runner, options, seed, mode, lines):
    print(f"seed {seed} mode {mode}:\n- {lines[0]}\n+ {lines[1]}", flush=True)
    number = lines[0].split(" ", 1)[0]
    if options.whole or not runner.differs(seed, mode, runner.skip):
        print("  (not shrunk)", flush=True)
        return
    skip = runner.shrink(seed, mode, number)
    want = runner.run(seed, skip=skip)
    got = want
    for _ in range(4 * AGAIN):
        got = runner.run(seed, mode, skip)
        if got != want:
            break
    print(f"  shrunk: run_random.py --mode {mode} --calls {options.calls} --skip {skip} {seed}")
    print("".join(f"  | {line}\n" for line in want.splitlines()), end="")
    print("  - {}\n  + {}".format(*first_difference(want, got)), flush=True)


def seeds_of(options):
    if options.minutes:
        end = time.monotonic() + 60 * options.minutes
        while time.monotonic() < end:
            yield random.SystemRandom().randrange(1, 1 << 40)
        return
    for word in options.seeds or ["1-200"]:
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--mode", action="append", choices=MODES)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--build", default=os.environ.get("ZTCP_BUILD", os.path.join(TREE, "build", "release")))
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--skip", default="")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--again", type=int, default=0)
    parser.add_argument("seeds", nargs="*")
    options = parser.parse_args()
    modes = options.mode or ["default", "lift0", "chaos"]
    runner = Runner(options)
    ran, useless, bad = 0, 0, dict.fromkeys(modes, 0)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        source = seeds_of(options)
        waiting = set()
        while True:
            for seed in source:
                waiting.add(pool.submit(judge, runner, seed, modes))
                if len(waiting) >= 2 * options.jobs:
                    break
            if not waiting:
                break
            done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                seed, differences = future.result()
                ran += 1
                useless += differences is None
                for mode, lines in (differences or {}).items():
                    bad[mode] += 1
                    report(runner, options, seed, mode, lines)
    print(f"seeds: {ran}, of which the kernel's own answers differed: {useless}")
    print("different: " + ", ".join(f"{mode} {n}" for mode, n in bad.items()))
    # Sequences that cannot be compared prove nothing; of a few, one may meet a machine that is busy.
    sys.exit(any(bad.values()) or useless * 10 > max(ran, 10))


if __name__ == "__main__":
    main()
