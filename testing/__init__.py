"""Real Kafka and Redis servers for tests, the demo and benchmarks: as child processes, as containers, or given ones."""
