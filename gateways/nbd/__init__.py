"""A group's volumes, copies and clones as network block devices: `tidelog serve nbd`.

`server.py` listens, `negotiation.py` and `transmission.py` are the two phases of a connection, `exports.py` says what
there is, `wire.py` is the protocol's numbers and layouts: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""
