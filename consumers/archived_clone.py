"""A clone of an archived copy: all its blocks, brought from the archive into the site's store, apart from the fold."""

from tidelog.consumers.archives import CopySource
from tidelog.consumers.materialise import drop_forming, forming_clone
from tidelog.errors import ExportDamaged
from tidelog.names import check_name
from tidelog.stores.image import Store
from tidelog.stores.placing import placed
from tidelog.stores.store import Clone, Copy, CopyOrigin, Moment, archive_base


def clone_archived(store: Store, source: CopySource, copy: Copy, name: str) -> Clone:
    """A clone of that name in ``store`` of an archived ``copy``, which is read from ``source``: the image of the moment
    at which the copy was cut. Cut short, the same call does it again, and it shows as forming meanwhile; from a damaged
    archive none is left.

    Raises `ExportDamaged`; `AlreadyExists` for a clone's name; `InvalidName`; OSErrors of the archive's place.
    """
    moment = Moment(sequence=copy.sequence) if copy.origin is CopyOrigin.MARKER else Moment(at_us=copy.timestamp_us)
    with placed(store.identity):
        clone = forming_clone(store, check_name("clone", name), moment, archived=copy.name)
        clone = clone or store.clones.begin(archive_base(copy.name), name, moment)
        try:
            with store.clones.fill(clone) as fill:
                return fill.load(copy, lambda volume: source.stream(volume, copy))
        except ExportDamaged:
            drop_forming(store, clone)
            raise
