"""One small server for each peer, as its own documentation recommends.

They run in the peers' environments, and know of what to serve by the environment: ``BENCH_WORKLOAD``,
``BENCH_SNAPSHOT``, ``BENCH_PORT``.
"""
