"""The settings of a group's sidefile: where its writer goes on while Kafka is away."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tidelog.units import Duration, Size

MIB = 1024 * 1024


class SidefileConfig(BaseModel):
    """``sidefile`` is a folder of this machine (None: no sidefile), ``sidefile_size`` the bytes that a sidefile may
    take, ``sidefile_after`` the seconds without a confirmation after which the writer turns to it, ``sidefile_full``
    what a write does that does not fit: wait for the log, for ``write_timeout``, or fail at once."""

    sidefile: Path | None = None
    sidefile_size: Annotated[Size, Field(ge=MIB)] = 1024 * MIB
    sidefile_after: Annotated[Duration, Field(gt=0)] = 2.0
    sidefile_full: Literal["block", "fail"] = "block"
