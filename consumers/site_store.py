"""A site's store of a group as its worker opens it, and what it tells of where that store began."""

from tidelog.clock import wall_us
from tidelog.consumers.deployment import Deployment, open_store
from tidelog.errors import NeedsRebuild, NotFound
from tidelog.producers.process_name import process_name
from tidelog.schemas.chain import Head
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.schemas.reports import StoreBegan, began_key
from tidelog.stores.began import Began
from tidelog.stores.image import Store


def open_site_store(deployment: Deployment, site: str, group: str) -> Store:
    """The group's store at a site; made if this site never had one.

    A store that is gone although the site has had one that had come some way is not made anew unasked: it may be the
    wrong Redis, and a site that silently starts over would serve old data. Raises `NeedsRebuild`, and what `open_store`
    does.
    """
    try:
        return open_store(deployment, site, group)
    except NotFound:
        view = deployment.cluster.control.snapshot()
        status, began = view.get(status_key(group, site)), view.get(began_key(group, site))
        applied = status.sequence if isinstance(status, SiteStatus) else 0
        # Of a store that is empty the status says sequence 0; that there was one stays on the topic.
        if applied or isinstance(began, StoreBegan):
            had = f"it had applied sequence {applied}" if applied else "it had applied events of the group"
            raise NeedsRebuild(
                f"the store of site {site} is empty, and {had}",
                sequence=applied or None,
                hint=f"if this is the right Redis, run: tidelog site rebuild {site} --group {group}",
            ) from None
        return open_store(deployment, site, group, create=True)


def told_began(site: str, group: str, began: Began) -> StoreBegan:
    """What the site says on the control topic of where its store began."""
    return StoreBegan(
        site=site,
        group=group,
        sequence=began.sequence,
        timestamp_us=began.timestamp_us,
        reported_us=wall_us(),
    )


def told_stopped(site: str, group: str, head: Head, by: str) -> SiteStatus:
    """Where a site stands that a command has brought there, and that no worker serves."""
    return SiteStatus(
        site=site,
        group=group,
        state="STOPPED",
        sequence=head.sequence,
        seal=head.seal,
        epoch=head.epoch,
        timestamp_us=head.timestamp_us,
        offset=head.offset,
        end_offset=head.next_offset,
        events_applied=0,
        redelivered=0,
        void=0,
        reported_us=wall_us(),
        worker=f"{by} at {process_name()}",
    )


def head_before(status: object) -> Head | None:
    """Where the site stood by its last report, for what is said until its store is open; who wrote it is not told."""
    if not isinstance(status, SiteStatus):
        return None
    return Head(status.sequence, status.seal, status.epoch, bytes(16), status.timestamp_us, status.offset)
