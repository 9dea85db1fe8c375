"""What is kept: a group's image and its copies, at one site, in Redis.

Start at `tidelog.stores.image` (the `Store`), `tidelog.stores.applier` (the way in) and `tidelog.stores.keys` (what is
where); `tidelog.stores.keyspace` is all that is asked of Redis.
"""
