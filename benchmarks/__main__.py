"""``python -m benchmarks [--only NAME]... [--pairs N] [--quick] [--json PATH]``, from the root of the repository."""

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import (
    apply,
    copies,
    devices,
    drill,
    exports,
    latency,
    materialise,
    promotions,
    publish,
    rebuilds,
    resyncs,
    sizes,
    sqlite,
    upkeep,
    volume_copies,
)
from benchmarks.arithmetic import Row
from benchmarks.report import print_rows, write_json
from benchmarks.servers import Bench, started
from tidelog.termination import interrupt_on_sigterm

BENCHMARKS: dict[str, Callable[[Bench], list[Row]]] = {
    "apply-4k": apply.apply_4k,
    "apply-128": apply.apply_128,
    "publish-4k": publish.publish_4k,
    "publish-128": publish.publish_128,
    "flush": latency.flush,
    "visible": latency.visible,
    "cut": copies.cut,
    "cut-flat": copies.cut_flat,
    "copies-held": copies.held,
    "copy-memory": copies.memory,
    "digest": upkeep.digest,
    "scattered": upkeep.scattered,
    "drop": upkeep.drop,
    "drill": drill.drill,
    "backup": drill.backup,
    "clones": drill.clones,
    "export": exports.exports,
    "nbd": devices.nbd,
    "nbd-discards": devices.discards,
    "log-bytes": sizes.log_bytes,
    "materialise": materialise.rates,
    "volume-copy": volume_copies.wire,
    "resync": resyncs.moved,
    "rebuild": rebuilds.rebuild,
    "promote": promotions.promote,
    "failover": promotions.failover,
    "sqlite": sqlite.sqlite,
    "worker-memory": sizes.worker_memory,
}
RESULTS = Path(__file__).with_name("results.json")
WIDTH = 140  # of the table where no terminal has one


def main(arguments: list[str] | None = None) -> int:
    """0 whether the goals are met or not: a figure is no fault. 1 if a benchmark could not be carried out; the others
    are all the same."""
    options = _parser().parse_args(arguments)
    console, progress = Console(width=None if sys.stdout.isatty() else WIDTH), Console(stderr=True)
    rows: list[Row] = []
    failed: list[str] = []
    with interrupt_on_sigterm(), started(options.pairs, options.quick) as bench:
        console.print(bench.description, highlight=False)
        if options.quick:
            console.print("A quick run: too short for its figures to mean much.")
        for name in options.only or BENCHMARKS:
            begun = time.monotonic()
            progress.print(f"[dim]{name} ...[/dim]", end="", highlight=False)
            try:
                rows += BENCHMARKS[name](bench)
            except Exception:  # whatever it is: the hour that the others took must not be lost
                failed.append(name)
                traceback.print_exc()
            progress.print(f"[dim] {time.monotonic() - begun:.0f} s[/dim]", highlight=False)
    print_rows(console, rows)
    path = options.json or (RESULTS if not options.only and not options.quick else None)
    if path:
        write_json(path, rows)
        console.print(f"written to {path}", highlight=False)
    if failed:
        progress.print(f"could not be carried out: {', '.join(failed)}", style="red")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="tidelog's figures, beside their limits")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each side (default 5)")
    parser.add_argument("--quick", action="store_true", help="short runs, to try the harness out")
    parser.add_argument("--json", type=Path, help="where the rows go (default: results.json here, for a full run)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
