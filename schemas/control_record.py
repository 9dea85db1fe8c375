"""What all records of the control topic have in common."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from tidelog.schemas.codec import write_record
from tidelog.schemas.registry import schemas

Fixed16 = Annotated[bytes, Field(min_length=16, max_length=16)]


class ControlRecord(BaseModel):
    """What all records of the control topic have: a kind and a key."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """What this record replaces in the compacted topic."""
        raise NotImplementedError

    def encode(self) -> bytes:
        """The record in Avro single-object encoding; control records carry no seal."""
        return write_record(schemas()[self.kind], self.model_dump()).getvalue()
