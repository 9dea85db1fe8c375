"""A file system of a few mebibytes that a test fills, for a server whose folder is on it.

with SmallDisk(tmp_path / "disk", 64 * MIB) as disk, KafkaServer(data_dir=disk.path / "kafka") as kafka:
    disk.fill()
"""

import errno
import os
import subprocess
from pathlib import Path
from typing import Self

from tidelog.testing.servers import ServerError

BALLAST = "ballast"
_PIECE_BYTES = 64 * 1024


class SmallDisk:
    """A tmpfs at ``path``, of ``size`` bytes. Mounting it takes root, or `ServerError` says so: then there is no such
    disk. It stays mounted if this process is ended by SIGKILL."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(path)]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", None) or error
            raise ServerError(f"a small disk cannot be mounted here, which takes root: {why}") from None

    def fill(self) -> None:
        """Nothing more can be written to it (ENOSPC). Raises every other `OSError`: then it is not full."""
        piece = bytes(_PIECE_BYTES)
        descriptor = os.open(self.path / BALLAST, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(descriptor, piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(descriptor)

    def make_room(self) -> None:
        """What `fill` took is free again."""
        (self.path / BALLAST).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmounts it, with all that is in it, when nobody uses it any more or at once."""
        subprocess.run(["umount", "--lazy", str(self.path)], capture_output=True, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
