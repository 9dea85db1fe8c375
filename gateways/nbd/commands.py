"""Which requests are refused before anything is done, and with which error. Pure."""

from typing import NamedTuple

from tidelog.gateways.nbd.wire import PAYLOAD_BYTES_MAX, Command, CommandFlag, Error, Request

# FUA may stand at any command.
_FLAGS: dict[int, int] = {
    Command.READ: CommandFlag.FUA | CommandFlag.DF,
    Command.WRITE: CommandFlag.FUA,
    Command.FLUSH: CommandFlag.FUA,
    Command.TRIM: CommandFlag.FUA,
    Command.WRITE_ZEROES: CommandFlag.FUA | CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO,
    Command.BLOCK_STATUS: CommandFlag.FUA | CommandFlag.REQ_ONE,
}
_CHANGES = (Command.WRITE, Command.TRIM, Command.WRITE_ZEROES)
_NO_SPACE = (Command.WRITE, Command.WRITE_ZEROES)


class Terms(NamedTuple):
    """What was agreed on in the negotiation: of the export its size in bytes and whether it can be written to; and
    whether replies are structured, and `ALLOCATION` can be asked for."""

    size: int
    read_only: bool
    structured: bool
    allocation: bool


class Refusal(NamedTuple):
    """An error, and why, for people."""

    error: Error
    why: str


def refusal(request: Request, terms: Terms) -> Refusal | None:
    """Why a request is not carried out; None if it is. `Command.DISC` is none of these."""
    allowed = _FLAGS.get(request.command)
    if allowed is None:
        return Refusal(Error.EINVAL, f"there is no command {request.command}")
    wrong = request.flags & ~(allowed if terms.structured else allowed & ~CommandFlag.DF)
    if wrong:
        return Refusal(Error.EINVAL, f"flags {wrong:#x} mean nothing at this command")
    if request.command in _CHANGES and terms.read_only:
        return Refusal(Error.EPERM, "this export is read-only")
    if request.command == Command.FLUSH:
        return Refusal(Error.EINVAL, "a flush has no offset or length") if request.offset or request.length else None
    if request.offset + request.length > terms.size:
        error = Error.ENOSPC if request.command in _NO_SPACE else Error.EINVAL
        return Refusal(error, f"{request.offset} to {request.offset + request.length} of {terms.size} bytes")
    if request.command == Command.READ and request.length > PAYLOAD_BYTES_MAX:
        error = Error.EOVERFLOW if terms.structured else Error.EINVAL
        return Refusal(error, f"at most {PAYLOAD_BYTES_MAX} bytes are read at once")
    if request.command == Command.BLOCK_STATUS and not (terms.allocation and request.length):
        return Refusal(Error.EINVAL, "no metadata context was selected" if request.length else "no bytes")
    return None
