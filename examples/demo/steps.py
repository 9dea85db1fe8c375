"""`make demo`: a bank on replicated volumes, at three sites, with one of them killed and one of them emptied.

Everything is real: a Kafka broker, three Redis servers, three `tidelog site run` processes, SQLite. The exit code is 0
only if every check held.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis
from rich.console import Console
from rich.table import Table

import tidelog
from examples.demo import bank, more_copies
from examples.demo.names import BOTH_GROUPS, GROUP, JOURNAL, LEDGER, SECOND_GROUP, SITES
from examples.demo.traffic import Traffic
from examples.demo.workers import Workers
from tidelog.clock import iso
from tidelog.errors import TidelogError
from tidelog.gateways.sqlite import database
from tidelog.schemas.control import CopyFormed
from tidelog.testing.stack import LocalStack

SECONDS = 20
STARTED = time.monotonic()


class Demo:
    """The demo's steps, and the checks that decide its exit code."""

    def __init__(self, console: Console, stack: LocalStack, folder: Path) -> None:
        self.console, self.stack = console, stack
        self.config = folder / "tidelog.toml"
        self.config.write_text(stack.toml)
        self.failed: list[str] = []
        self.marks: list[tidelog.MarkedCopy] = []
        self.receipts: dict[str, dict[str, CopyFormed]] = {}  # name of the copy -> site -> receipt

    def say(self, text: str) -> None:
        """A line for the one who watches, with the seconds since the start."""
        self.console.print(f"[dim]{time.monotonic() - STARTED:6.1f} s[/dim]  {text}")

    def check(self, holds: bool, what: str) -> None:
        """Shows whether something held, and remembers if it did not."""
        self.console.print(f"          {'[green]holds[/green]' if holds else '[bold red]FAILS[/bold red]'}  {what}")
        if not holds:
            self.failed.append(what)

    def run(self) -> None:
        """All steps, in order."""
        for group in (GROUP, SECOND_GROUP):
            self.tool("group", "create", group)
        with Workers(self.config, SITES) as workers:
            try:
                self.write(workers)
                self.catalogue()
                self.audit_copies()
                more_copies.audit_both_groups(self)
                more_copies.take_away(self, self.marks[-1])
                self.rebuild_london()
            except Exception:
                self.console.print(workers.messages(), markup=False, highlight=False)
                raise

    def tool(self, *arguments: str) -> None:
        """Runs the `tidelog` command as a user would."""
        self.console.print(f"          [bold]$ tidelog {' '.join(arguments)}[/bold]")
        command = [sys.executable, "-m", "tidelog", "--config", str(self.config), *arguments]
        done = subprocess.run(command, check=False, timeout=120)
        if done.returncode:
            raise TidelogError(f"tidelog {' '.join(arguments)} ended with {done.returncode}")

    def write(self, workers: Workers) -> None:
        """Transfers for `SECONDS`, a marker every second, and half-way osaka's worker killed and started again."""
        with (
            tidelog.open_group(GROUP, config=self.config) as group,
            tidelog.open_group(SECOND_GROUP, config=self.config) as orders,
        ):
            ledger = group.create_volume(LEDGER, size="64MiB")
            journal = group.create_volume(JOURNAL, size="64MiB")
            self.say("SQLite moves in: its database on volume ledger, its rollback journal on volume journal")
            connection = database(group, main=ledger, journal=journal)
            bank.create(connection)
            self.say(
                f"{bank.ACCOUNTS} accounts with {bank.BALANCE} each; transfers for {SECONDS} s, a PITC every second"
            )
            rng = random.Random(20261122)
            counter = more_copies.Counter(orders)

            def transact() -> None:
                bank.transfer(connection, rng)
                counter.count()

            with Traffic(transact, group.mark) as traffic:
                time.sleep(SECONDS / 2)
                process = workers.kill("osaka")
                traffic.killed()
                self.say(f"SIGKILL to osaka's worker (process {process}), and a new one started")
                workers.start("osaka")
                self.say(
                    f"a copy of groups {GROUP} and {SECOND_GROUP} at one time, by the timestamps in each site's data"
                )
                self.tool("pitc", "create", BOTH_GROUPS, "--groups", f"{GROUP},{SECOND_GROUP}", "--in", "4s")
                more_copies.drill(self, traffic.marks[2])
                time.sleep(SECONDS / 2)
            self.marks = traffic.marks
            self.say(
                f"{traffic.transactions} transactions of {bank.TRANSFERS} transfers committed, {len(self.marks)} PITCs"
            )
            for holds, what in traffic.checks():
                self.check(holds, what)
            more_copies.copy_onto_volume(self, group, lambda: bank.transfer(connection, rng, transfers=3))
            connection.close()
            group.flush()
            for copy in self.marks:
                self.receipts[copy.name] = copy.wait(sites=SITES, timeout=60)

    def catalogue(self) -> None:
        """Every PITC x every site, from the receipts."""
        self.say("every PITC at every site:")
        table = Table("PITC", "sequence", "time (UTC)", "changed blocks", *SITES, "equal")
        unequal = 0
        for copy in self.marks:
            receipts = self.receipts[copy.name]
            equal = len({receipt.digest for receipt in receipts.values()}) == 1
            unequal += not equal
            changed = "/".join(sorted({str(receipt.blocks_changed) for receipt in receipts.values()}))
            digests = [receipts[site].digest.hex()[:12] for site in SITES]
            verdict = "yes" if equal else "NO"
            table.add_row(copy.name, str(copy.sequence), iso(copy.timestamp_us)[11:23], changed, *digests, verdict)
        self.console.print(table)
        self.check(not unequal, f"all {len(self.marks)} PITCs are the same at {', '.join(SITES)}")

    def audit_copies(self) -> None:
        """Opens databases from london's copies; then mismatched pairs of files, which must be found broken."""
        with tidelog.open_site("london", config=self.config) as site:
            copies = site.group(GROUP).copies()
            self.say("opening the database read-only from london's copies:")
            for copy in copies[:: max(1, len(copies) // 5)]:
                found = bank.audit(copy.volume(LEDGER), copy.volume(JOURNAL))
                self.check(found.sound, f"{copy.name}: {found}")
            self.say("and, to see that this check has teeth, main files and journals of different PITCs:")
            torn = []
            for main in copies:
                for other in copies:
                    if other is not main and not torn[2:]:
                        found = bank.audit(main.volume(LEDGER), other.volume(JOURNAL))
                        if not found.sound:
                            torn.append(f"ledger of {main.name} with journal of {other.name}: {found}")
            for line in torn:
                self.console.print(f"          [yellow]broken, as it must be:[/yellow] {line}")
            self.check(bool(torn), "a pair that was not cut at one point is found broken")

    def rebuild_london(self) -> None:
        """Empties london's Redis, rebuilds it from the log, and compares its newest PITC."""
        newest = self.marks[-1]
        before = self.receipts[newest.name]["london"].digest
        self.say("emptying london's Redis (FLUSHALL), and rebuilding it from the log:")
        with redis.Redis.from_url(self.stack.redis_urls["london"]) as server:
            server.flushall()
        for group in (GROUP, SECOND_GROUP):
            self.tool("site", "rebuild", "london", "--group", group, "--yes")
        with tidelog.open_site("london", config=self.config) as site:
            after = site.group(GROUP).copy(newest.name).digest()
        self.check(after == before, f"london's newest PITC {newest.name} has digest {after.hex()} again")


def run() -> int:
    """Starts the servers, runs the demo, ends the servers; 0 only if every check held. Raises `TidelogError`."""
    console = Console()
    console.width = max(console.width, 110)  # on a pipe, too, the table is to be read
    with tempfile.TemporaryDirectory(prefix="tidelog-demo-") as folder, LocalStack(SITES) as stack:
        demo = Demo(console, stack, Path(folder))
        demo.say(stack.description)
        demo.run()
    if demo.failed:
        console.print(f"[bold red]{len(demo.failed)} checks failed:[/bold red] {'; '.join(demo.failed)}")
        return 1
    console.print(f"[bold green]Every check held[/bold green], in {time.monotonic() - STARTED:.0f} s.")
    return 0
