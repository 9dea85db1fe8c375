"""Planted bugs, each of which some test must catch: `make mutants` (or `python -m tests.mutants NAME...`).

Each mutant is one replacement in a copy of the tree, and the tests that should notice. A mutant that survives, or
whose text is no longer in the code, fails the run.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import planted
from tests.planted import Mutant
from tests.planted_copies import COPY_MUTANTS
from tests.planted_deploy import DEPLOY_MUTANTS
from tests.planted_exposure import EXPOSURE_MUTANTS
from tests.planted_metrics import METRIC_MUTANTS
from tests.planted_moments import MOMENT_MUTANTS
from tests.planted_nbd import NBD_MUTANTS
from tests.planted_promote import PROMOTE_MUTANTS
from tests.planted_rebuild import REBUILD_MUTANTS
from tests.planted_regions import REGION_MUTANTS
from tests.planted_resync import RESYNC_MUTANTS
from tests.planted_rollback import ROLLBACK_MUTANTS
from tests.planted_sidefile import SIDEFILE_MUTANTS
from tests.planted_sqlite import SQLITE_MUTANTS
from tests.planted_standing import STANDING_MUTANTS
from tests.planted_web import WEB_MUTANTS

ROOT = Path(__file__).parent.parent
MUTANTS = planted.MUTANTS + COPY_MUTANTS + MOMENT_MUTANTS + RESYNC_MUTANTS + EXPOSURE_MUTANTS
MUTANTS += PROMOTE_MUTANTS + REBUILD_MUTANTS + REGION_MUTANTS + ROLLBACK_MUTANTS + SIDEFILE_MUTANTS
MUTANTS += STANDING_MUTANTS + DEPLOY_MUTANTS + SQLITE_MUTANTS + METRIC_MUTANTS + WEB_MUTANTS + NBD_MUTANTS
COPIED = ("schemas", "stores", "producers", "consumers", "recovery", "gateways", "testing", "src", "tests", "examples")
TIMEOUT = 420


def plant(mutant: Mutant, folder: Path) -> None:
    """Copies the tree to ``folder`` and makes the change. Raises `ValueError` if there is not exactly one place."""
    for name in COPIED:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    target = folder / mutant.file
    text = target.read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {text.count(mutant.old)} places in {mutant.file} to change, not one")
    target.write_text(text.replace(mutant.old, mutant.new))


def caught(mutant: Mutant) -> tuple[bool, str]:
    """Whether the tests fail on the mutant, and pytest's last line."""
    with tempfile.TemporaryDirectory(prefix="tidelog-mutant-") as name:
        folder = Path(name)
        plant(mutant, folder)
        # Before the installed package on the path, so that the copy is what is imported.
        environment = os.environ | {
            "PYTHONPATH": str(folder / "src"),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "h"),
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(
                command + shlex.split(mutant.tests),
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True, f"hangs: no end within {TIMEOUT} s"
        lines = done.stdout.strip().splitlines()
        # 1: tests failed. Anything else (2: interrupted, 4: usage, 5: none collected) is no catch.
        return done.returncode == 1, lines[-1] if lines else done.stderr.strip()[-200:]


def main(names: list[str]) -> int:
    """Runs all mutants, or those named; 0 if every one was caught."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if not chosen:
        print(f"no such mutant; there are: {', '.join(mutant.name for mutant in MUTANTS)}", file=sys.stderr)
        return 2
    survivors = []
    for mutant in chosen:
        started = time.monotonic()
        killed, last = caught(mutant)
        if not killed:
            survivors.append(mutant.name)
        verdict = "caught  " if killed else "SURVIVED"
        print(f"{verdict}  {mutant.name:40}  {time.monotonic() - started:5.1f} s  {last}", flush=True)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} planted bugs caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
