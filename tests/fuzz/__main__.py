from __future__ import annotations

import argparse
import os
import sys

from tests.fuzz.kinds import kinds
from tests.fuzz.run import Cost, FaultError, each, limited

# Seconds of the processor that an input may take, and bytes that this process may grow by while it is read.
MOST_SECONDS, MOST_BYTES = 1.0, 1 << 26
# Bytes that it may map besides: what takes more is a fault, and not the end of the machine.
MOST_MAPPED = 2 << 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Read what nobody meant well.")
    parser.add_argument("count", nargs="?", type=int, default=10_000, help="lines of each kind; files are fewer")
    parser.add_argument("--only", action="append", choices=sorted(kinds()), help="a kind; without it all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    asked = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    bad = 0
    for name in asked.only or kinds():
        kind = kinds()[name]
        count = max(int(asked.count * kind.share), 1)
        costs: list[Cost] = []
        kind.begin()
        with limited(MOST_MAPPED):
            for number in range(asked.first, asked.first + count):
                try:
                    costs += each(kind, 1, asked.seed, number)
                except FaultError as fault:
                    print(fault, flush=True)
                    bad += 1
        if not costs:
            continue
        slowest, largest = max(costs, key=lambda cost: cost.seconds), max(costs, key=lambda cost: cost.grown)
        refused = sum(cost.refused for cost in costs)
        print(
            f"{name}: {count:,} inputs, {refused:,} refused; slowest {slowest.seconds:.3f} s (number {slowest.number})"
            f", largest {largest.grown >> 20} MiB (number {largest.number})",
            flush=True,
        )
        bad += slowest.seconds > MOST_SECONDS or largest.grown > MOST_BYTES
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
