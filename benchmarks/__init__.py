"""Every figure that tidelog claims, measured beside its limit: ``python -m benchmarks`` (or ``make bench``).

A limit is what the same machine, servers and libraries do without us, in the same run; sides alternate, and the ratio
of a row is the median over the pairs. Each measured side runs in a process of its own.
"""
