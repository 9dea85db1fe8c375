"""What the control topic says of the archives of a group's copies, and what an archive is held against. Pure.

A copy is (sequence, seal, name): in a group that stands still a copy by time has the sequence and the seal of the
marker before it, and is another copy.
"""

from collections.abc import Collection

from tidelog.errors import AlreadyExists, CopiesDiffer, UsageError
from tidelog.producers.control import ControlView
from tidelog.schemas.control import CopyArchived, CopyFormed, CopyOrdered, GroupCreated, group_key, order_key

# Sequence, seal and name.
CopyIdentity = tuple[int, bytes, str]


def archives_of(view: ControlView, group: str) -> list[CopyArchived]:
    """What the sites have archived of a group, oldest copy first; not of an earlier group of that name."""
    created = view.get(group_key(group))
    if not isinstance(created, GroupCreated):
        return []
    found = (record for record in view.values() if isinstance(record, CopyArchived))
    own = (record for record in found if (record.group, record.group_id) == (group, created.group_id))
    return sorted(own, key=lambda record: (record.sequence, record.timestamp_us, record.site))


def archived_copies(view: ControlView, group: str) -> frozenset[CopyIdentity]:
    """These copies, but for those of which anybody has told another digest than the archive's."""
    archives = archives_of(view, group)
    digests: dict[CopyIdentity, set[bytes]] = {_identity(record): set() for record in archives}
    records: list[CopyArchived | CopyFormed] = [*archives, *_receipts(view, group)]
    for record in records:
        if _identity(record) in digests:
            digests[_identity(record)].add(record.digest)
    return frozenset(copy for copy, told in digests.items() if len(told) == 1)


def require_equal(
    view: ControlView, group: str, copy: CopyIdentity, digest: bytes, at: str, sites: Collection[str]
) -> None:
    """For a copy by marker that ``at`` is to archive for all ``sites`` (the configured ones), with the digest that it
    has there: raises `CopiesDiffer` if anybody has told another, `UsageError` if nobody else has told any and there is
    somebody else. One other is enough: a site that is down for long must not keep every copy in memory."""
    receipts = {one.site: one.digest for one in _receipts(view, group) if _identity(one) == copy}
    others = (one for one in archives_of(view, group) if _identity(one) == copy and one.site != at)
    told = {f"the archive of {one.site}": one.digest for one in others}
    sequence, _, name = copy
    differing = [f"{who} {said.hex()}" for who, said in (receipts | told).items() if said != digest]
    if differing:
        raise CopiesDiffer(
            f"copy {name} (sequence {sequence}) is {digest.hex()} at {at}, and differs: {', '.join(differing)};"
            " it is not archived, and stays",
            group=group,
            hint=f"find out which is wrong: tidelog pitc verify {name} -g {group} --full",
        )
    missing = [site for site in sites if site != at and site not in receipts]
    if missing and not told and not receipts.keys() - {at}:
        raise UsageError(
            f"copy {name} (sequence {sequence}) is at no other site yet: {', '.join(missing)} have not told its digest,"
            f" and it would be dropped there on the word of {at} alone",
            group=group,
            hint=f"wait for its receipts: tidelog pitc list -g {group}",
        )


def require_free_name(view: ControlView, name: str, group: str) -> None:
    """Raises `AlreadyExists` if a copy of that name is archived, or was ordered by time, taken back or not (a site
    that is behind may still have to drop it): from then on the name would mean two copies."""
    order = view.get(order_key(name))
    if isinstance(order, CopyOrdered) and group in order.group_names:
        raise AlreadyExists(
            f"a copy by time named {name!r} was ordered already", group=group, hint="choose another name"
        )
    archive = next((record for record in archives_of(view, group) if record.name == name), None)
    if archive is not None:
        raise AlreadyExists(
            f"copy {name!r} exists: it is archived at {archive.place}", group=group, hint="choose another name"
        )


def _identity(record: CopyArchived | CopyFormed) -> CopyIdentity:
    return record.sequence, record.seal, record.name


def _receipts(view: ControlView, group: str) -> list[CopyFormed]:
    return [record for record in view.values() if isinstance(record, CopyFormed) and record.group == group]
