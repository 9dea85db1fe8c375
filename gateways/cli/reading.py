"""Reading a site's store: which site, which bytes, and raw bytes to stdout."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from tidelog.consumers.archives import CopySource, find_archive
from tidelog.consumers.clone_view import CloneView
from tidelog.consumers.deployment import open_store, open_store_alone
from tidelog.errors import ConfigError, ExportDamaged, LogUnavailable, NotFound, OutOfBounds, Unavailable
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import size_text
from tidelog.gateways.cli.progress import LARGE_BYTES, byte_bar
from tidelog.gateways.exports.archived import ArchivedCopy, open_archive
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, HoldKind
from tidelog.units import parse_size

PART_BYTES = 4 * 1024 * 1024


@contextmanager
def opened_store(invocation: Invocation, group: str, site: str | None, *, shown: bool = True) -> Iterator[Store]:
    """The group's store at ``site``, by default the primary. Raises what `open_store` does.

    While Kafka does not answer it is the store by its own word, which is said on stderr where what it holds is
    ``shown``.
    """
    chosen = site or invocation.config.primary
    if chosen is None:
        raise ConfigError("no site is configured", hint="add [sites.NAME.redis] with its url")
    try:
        if invocation.kafka_away is not None:  # it was waited for once
            raise invocation.kafka_away
        store = open_store(invocation.deployment, chosen, group)
    except LogUnavailable as error:
        store = store_without_kafka(invocation, group, chosen, error, shown=shown)
    try:
        yield store
    finally:
        store.close()


def store_without_kafka(
    invocation: Invocation, group: str, site: str | None, error: LogUnavailable, *, shown: bool = True
) -> Store:
    """The group's store at ``site``, by default the primary, after Kafka has failed with ``error``, which is said on
    stderr where what the store holds is ``shown``. Raises ``error`` if that store cannot be had either."""
    invocation.kafka_away = error
    chosen = site or invocation.config.primary
    if chosen is None:
        raise error
    try:
        store = open_store_alone(invocation.deployment, chosen, group)
    except (NotFound, Unavailable):
        raise error from None
    if shown:
        invocation.say_once(f"{error.message}; this is what site {chosen} holds")
    return store


@contextmanager
def opened_clone(invocation: Invocation, name: str, group: str, site: str | None) -> Iterator[CloneView]:
    """A clone at ``site``, by default the primary. Raises `NotFound` and what `open_store` does."""
    with opened_store(invocation, group, site) as store:
        image = store.clones.image(store.clones.find(name))
        try:
            yield CloneView(image)
        finally:
            image.close()


@contextmanager
def opened_copy(
    invocation: Invocation, group: str, site: str | None, name: str, kind: HoldKind | None
) -> Iterator[tuple[CopySource, Copy]]:
    """The copy and what it is read from: the store at ``site`` (default: the primary), where it is held meanwhile
    unless ``kind`` is None, or its archive if the store has not got it, which is said on stderr. Raises as
    `opened_store`, `NotFound`, `ExportDamaged`."""
    with opened_store(invocation, group, site) as store:
        try:
            copy = store.copy(name)
        except NotFound:
            with opened_archive(invocation, group, name, store.identity.site) as source:
                if source is None:
                    raise
                yield source, source.copy
            return
        if kind is None:
            yield store, copy
            return
        with store.hold(copy, kind) as lease:
            yield store, lease.copy


@contextmanager
def opened_archive(invocation: Invocation, group: str, name: str, site: str) -> Iterator[ArchivedCopy | None]:
    """The archived copy of that name, best the one that ``site`` has archived, which is said on stderr; None if there
    is none. Raises `ExportDamaged`, out of the body too."""
    archive = find_archive(invocation.deployment.cluster.control.snapshot(), group, name, site)
    if archive is None:
        yield None
        return
    invocation.say_once(f"copy {archive.name} is read from its archive, {archive.place}")
    try:
        yield open_archive(archive)
    except ExportDamaged as error:
        error.hint = f"what is left of it, and where else it is: tidelog pitc show {archive.name} --group {group}"
        raise


def copied_volume(copy: Copy, name: str) -> VolumeInfo:
    """The volume of that name in the copy. Raises `NotFound`."""
    found = copy.volume(name)
    if found is None:
        there = ", ".join(sorted(volume.name for volume in copy.volumes)) or "none"
        raise NotFound(f"no volume {name!r} in copy {copy.name} (there are: {there})")
    return found


def extent(volume: VolumeInfo, offset: str, length: str | None) -> tuple[int, int]:
    """Offset and length in bytes as given on the command line. Raises `OutOfBounds`, `UsageError`."""
    start = parse_size(offset)
    count = volume.size - start if length is None else parse_size(length)
    if start < 0 or count < 0 or start + count > volume.size:
        raise OutOfBounds(
            f"{count} bytes at offset {start} of volume {volume.name}, which has {volume.size} bytes",
            hint="offsets begin at 0",
        )
    return start, count


def send_copy(
    invocation: Invocation,
    group: str,
    site: str | None,
    name: str,
    volume_name: str,
    offset: str,
    length: str | None,
) -> None:
    """Bytes of a volume in a copy, raw, to stdout."""
    with opened_copy(invocation, group, site, name, HoldKind.VOLUME) as (source, copy):
        volume = copied_volume(copy, volume_name)
        start, count = extent(volume, offset, length)
        parts = source.stream(volume, copy, start, count)
        send(invocation, f"reading {volume.name} of copy {copy.name}", parts, count)


def send_live(invocation: Invocation, store: Store, volume_name: str, offset: str, length: str | None) -> None:
    """Bytes of a live volume, raw, to stdout: all at one position, which is said on stderr."""
    volume = store.volume(volume_name)
    start, count = extent(volume, offset, length)
    with invocation.err.status(f"reading {size_text(count)} of volume {volume.name} at one position"):
        data, head = store.read_live(volume, start, count)
    parts = (data[at : at + PART_BYTES] for at in range(0, count, PART_BYTES))
    send(invocation, f"sending volume {volume.name}", parts, count)
    invocation.say(f"{count} bytes of volume {volume.name} at sequence {head.sequence}, site {store.identity.site}")


def send(invocation: Invocation, what: str, parts: Iterator[bytes], total: int) -> None:
    """Raw bytes on stdout, ``total`` of them; a bar called ``what`` if that is much and stdout is no terminal."""
    if invocation.out.is_terminal:
        invocation.say("raw bytes follow; redirect stdout to keep a terminal from showing them")
    with (
        nullcontext(_no_bar)
        if invocation.out.is_terminal
        else byte_bar(invocation, what, total, least=LARGE_BYTES) as advance
    ):
        for part in parts:
            sys.stdout.buffer.write(part)
            advance(len(part))
        sys.stdout.buffer.flush()


def _no_bar(_: int) -> None:
    """On a terminal that shows the bytes themselves."""
