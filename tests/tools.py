"""Programs that tests ask of, as users have them: Debian's packages, installed by `.ci/run`."""

import os
import shutil

import pytest


def tool(name: str) -> str:
    """The program's path. Skips the test where it is not installed, and fails it in CI."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
