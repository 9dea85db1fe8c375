"""Every Redis key of a group at a site, in one place. All share one hash tag, so one slot of a cluster.

    tidelog:{<group>}:...             type    what it holds
    identity                          hash    group, group_id, site, format
    position                          string  `Position`, beside the data and changed in the same EXEC, as its last
                                              command; ``loading:``, a name and a `Loading` while a copy
                                              from elsewhere is brought in; ``rolling:`` and where it will end
                                              during a roll back
    volumes                           hash    volume id -> `VolumeInfo`: the live volume table
    deleted                           hash    volume id -> `VolumeInfo` of deleted volumes whose blocks are still here
    b:<volume id>:<block>             string  a live block; absent = zeros, shorter than a block = padded with zeros
    g:<generation>:<volume id>:<block> string a before-image: the block as it was at the cut that began the generation
    m:<generation>:<volume id>        string  change bitmap: blocks named since that cut (SETBIT's order of bits)
    copies                            hash    generation -> `Copy`; generation 0, before the first cut, has none
    forming                           string  `Copy` that is being made late; its ``g:`` and ``m:`` are nobody's yet
    h:<generation>:<volume id>        string  bitmap: blocks that the elder generation is still to hand to a late copy
    pairs                             hash    <source id>:<target id> -> sequence of the last copy between them
    p:<source id>:<target id>         string  bitmap of a pair: the blocks in which the live two may differ
    c:<generation>                    hash    <source id>:<target id> -> bitmap of a pair as it was at that cut
    holds                             hash    hold's id -> `Hold`: who needs a copy's blocks to stay, dropped or not
    clones                            hash    clone's name, or #<clone id> of one that is being dropped -> `Clone`
    k:<clone id>                      string  ``live:``, ``dropping:`` or ``forming:`` and a random token, new with
                                              every change of the clone: what is watched by whoever changes it;
                                              ``live:untouched`` of one that is materialised and was not changed;
                                              behind a live one ``@`` and whose claim it is, if anybody has made one
    n:<clone id>:<volume id>          string  bitmap of a clone's volume: blocks that were written to or discarded in it
    o:<clone id>:<volume id>:<block>  string  such a block, whole; absent = zeros
    digests                           hash    <copy's sequence>:<its seal>:<volume id> -> era + digest; `era` -> random,
                                              new after an erase, so that no digest outlives one; outside the position
    forgotten                         hash    <at_us>:<name> of a command -> log's time at which the site dropped
                                              its copy by a retention of its own; not to be made again
    begun                             string  `Began`: the copy that a load or a roll back has put the store at: elder
                                              ones that others have may be missing, see `Rebuildable.whole`
    rebuild                           string  sequence that a rebuild must reach; outside the data, survives an erase

Generations are numbers that only grow, with gaps: a late copy takes one in the middle (`tidelog.stores.cut`).
Blocks are written as eight hex digits: keys of one volume have one length, which makes commands cheaper to build.
A volume id is the sequence of its creation, so a volume made anew under an old name shares nothing with it (C5).
"""

from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.store import Copy


class Keys:
    """The keys of one group."""

    __slots__ = (
        "begun",
        "clones",
        "copies",
        "deleted",
        "digests",
        "forgotten",
        "forming",
        "group",
        "holds",
        "identity",
        "pairs",
        "position",
        "prefix",
        "rebuild",
        "volumes",
    )

    def __init__(self, group: str) -> None:
        self.group = group
        self.prefix = b"tidelog:{%b}:" % group.encode()
        self.identity = self.prefix + b"identity"
        self.position = self.prefix + b"position"
        self.volumes = self.prefix + b"volumes"
        self.deleted = self.prefix + b"deleted"
        self.copies = self.prefix + b"copies"
        self.forming = self.prefix + b"forming"
        self.digests = self.prefix + b"digests"
        self.pairs = self.prefix + b"pairs"
        self.forgotten = self.prefix + b"forgotten"
        self.begun = self.prefix + b"begun"
        self.rebuild = self.prefix + b"rebuild"
        self.holds = self.prefix + b"holds"
        self.clones = self.prefix + b"clones"

    def block_format(self, volume: int) -> bytes:
        """A %-format of one argument, the block number (below 2^32)."""
        return self.prefix.replace(b"%", b"%%") + b"b:%d:%%08x" % volume

    def before_format(self, generation: int, volume: int) -> bytes:
        """A %-format of one argument, the block number, for before-images."""
        return self.prefix.replace(b"%", b"%%") + b"g:%d:%d:%%08x" % (generation, volume)

    def bitmap(self, generation: int, volume: int) -> bytes:
        return self.prefix + b"m:%d:%d" % (generation, volume)

    def handed(self, generation: int, volume: int) -> bytes:
        """The key of the blocks that a late copy is still to get from the elder generation."""
        return self.prefix + b"h:%d:%d" % (generation, volume)

    def pair_bitmap(self, source: int, target: int) -> bytes:
        """The key of a pair's bitmap; its field of ``pairs`` is `pair_field`."""
        return self.prefix + b"p:" + self.pair_field(source, target)

    def copied_pairs(self, generation: int) -> bytes:
        """The key of the pairs' bitmaps as they were at a cut."""
        return self.prefix + b"c:%d" % generation

    def clone(self, clone: str) -> bytes:
        """The key that changes with every change of a clone."""
        return self.prefix + b"k:" + clone.encode()

    def clone_bitmap(self, clone: str, volume: int) -> bytes:
        """The key of the bitmap of what was written in a clone."""
        return self.prefix + b"n:%b:%d" % (clone.encode(), volume)

    def clone_format(self, clone: str, volume: int) -> bytes:
        """A %-format of one argument, the block number, for a clone's own blocks."""
        return self.prefix.replace(b"%", b"%%") + b"o:%b:%d:%%08x" % (clone.encode(), volume)

    @staticmethod
    def pair_field(source: int, target: int) -> bytes:
        """A field of ``pairs``."""
        return b"%d:%d" % (source, target)

    @staticmethod
    def digest_field(copy: Copy, volume: VolumeInfo) -> bytes:
        """A field of ``digests``. It names the copy by identity: a rewind may give its generation to another."""
        return b"%d:%b:%d" % (copy.sequence, copy.seal.hex().encode(), volume.id)
