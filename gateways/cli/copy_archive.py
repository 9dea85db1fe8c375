"""`tidelog pitc archive`: a copy exported, verified, and only then dropped; and what an archived one cannot do."""

from tidelog.consumers.access import read_group
from tidelog.consumers.archive_policy import archive_place
from tidelog.consumers.archives import find_archive
from tidelog.consumers.process_settings import set_for_worker
from tidelog.errors import NotFound, UsageError
from tidelog.gateways.cli.copy_holds import refuse_clones_of
from tidelog.gateways.cli.copy_locks import droppable
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.cli.reading import opened_store
from tidelog.gateways.cli.writers import refuse_live_writer, writing
from tidelog.gateways.exports.archiving import archive_copy
from tidelog.gateways.exports.writing import content_bytes
from tidelog.producers.archived import require_equal
from tidelog.schemas.control import CopyArchived
from tidelog.schemas.locks import locked_error
from tidelog.stores.image import Store
from tidelog.stores.local_drop import judged_at_us
from tidelog.stores.store import Copy, CopyOrigin


def archive_and_drop(
    invocation: Invocation, name: str, group: str, site: str | None, to: str | None, *, take_over: bool, json: bool
) -> None:
    """Archives the copy of a site's store, then drops it: by time at that site, by marker everywhere.

    Cut short at any point it is run again. One that is archived already and not in the store is no error. Raises
    `NotFound`, `Locked`, `WriterAlive`, `UsageError` for one with a clone (nothing was written then), what
    `archive_copy` raises (nothing is dropped).
    """
    control, sites = invocation.deployment.cluster.control, list(invocation.config.sites)
    with opened_store(invocation, group, site) as store:
        at = store.identity.site
        try:
            copy = store.copy(name)
        except NotFound:
            done = find_archive(control.snapshot(), group, name, at)
            if done is None or done.site != at:
                raise
            _say(invocation, done, dropped="the store has dropped it already", json=json)
            return
        base = to or _configured(invocation, group, at, copy)
        _refuse(invocation, store, copy, take_over=take_over)
        set_for_worker()  # its threads read, write and prove at once
        # Written, and read again: files are smaller than their content where that can be compressed.
        with byte_bar(invocation, f"archiving {copy.name}", 2 * content_bytes(store, copy)) as advance:
            record = archive_copy(store, copy, base, control, advance, sites)
        if copy.origin is CopyOrigin.TIME:
            store.mark_dropping(copy, forget=True)
    if copy.origin is CopyOrigin.MARKER:
        by_sequence = f"#{copy.sequence}"
        check = droppable(invocation, by_sequence, group)
        with writing(invocation, group, take_over=take_over, check=check) as opened:
            require_equal(control.snapshot(), group, (copy.sequence, copy.seal, copy.name), record.digest, at, sites)
            opened.drop_copy(by_sequence)
    where = f"at {at}" if copy.origin is CopyOrigin.TIME else "at every site"
    _say(invocation, record, dropped=f"it is dropped from Redis {where}", json=json)


def _refuse(invocation: Invocation, store: Store, copy: Copy, *, take_over: bool) -> None:
    """Raises what stands in the way of dropping the copy, before anything is written or anybody is fenced: the site
    itself may be behind, so a marker's copy is asked for in the log."""
    group, site = store.identity.group, store.identity.site
    marked = copy.origin is CopyOrigin.MARKER
    if copy.origin is CopyOrigin.LOST:
        raise UsageError(
            f"copy {copy.name} is of a lost history, and archives are of the log's",
            hint="export it, and drop it where it is: tidelog pitc export, tidelog pitc drop with --site",
        )
    refuse_clones_of(invocation, copy, group, invocation.config.sites if marked else [site])
    if copy.locked_until_us > judged_at_us(store.position()):
        raise locked_error(copy.name, copy.locked_until_us, group)
    if not marked:
        return
    if not take_over:
        refuse_live_writer(invocation, group)
    droppable(invocation, f"#{copy.sequence}", group)(*read_group(group, invocation.deployment))


def stored_copy(invocation: Invocation, store: Store, name: str) -> Copy:
    """The copy in a store, for what an archive cannot do. Raises `NotFound`, with the place if it is archived."""
    try:
        return store.copy(name)
    except NotFound as error:
        raise not_held(invocation, store, name, error) from error


def not_held(invocation: Invocation, store: Store, name: str, error: NotFound) -> NotFound:
    """The error for a copy that a store has not got: with the place if it is archived, else ``error`` itself."""
    who = store.identity
    archive = find_archive(invocation.deployment.cluster.control.snapshot(), who.group, name, who.site)
    if archive is None:
        return error
    return NotFound(
        f"copy {archive.name} is archived, and not in the store of site {who.site}",
        group=who.group,
        hint=f"its archive is an export, which can be copied as it is, and imported into a site whose store is empty:"
        f" tidelog pitc import {archive.place} --site SITE",
    )


def _configured(invocation: Invocation, group: str, site: str, copy: Copy) -> str:
    """Where copies of a site are archived. Raises `UsageError`."""
    base = archive_place(invocation.config, site, group, copy.origin)
    if base is None:
        raise UsageError(
            f"no archive is configured for copy {copy.name} of group {group}",
            hint=f'say --to PLACE, or set archive = "PLACE" under [groups.{group}]',
        )
    return base


def _say(invocation: Invocation, record: CopyArchived, *, dropped: str, json: bool) -> None:
    if json:
        document = {
            "group": record.group,
            "name": record.name,
            "sequence": record.sequence,
            "seal": record.seal.hex(),
            "site": record.site,
            "place": record.place,
            "digest": record.digest.hex(),
        }
        emit_json(invocation, document)
        return
    invocation.say(
        f"copy {record.name} of group {record.group} (sequence {record.sequence}) is archived at {record.place},"
        f" verified; {dropped}"
    )
