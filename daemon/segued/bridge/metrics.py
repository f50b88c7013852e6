"""Metrics of the bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

BUCKETS_S = (0.3, 1, 3, 10, 30, 100, 300, 1000)


class BridgeMetrics:
    """What an operator watches: jobs by outcome, their time, and the lengths of the lists."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.jobs = Counter(
            "segue_bridge_jobs",
            "Jobs by outcome: completed, failed, dropped, lost, given_back.",
            ("outcome",),
            registry=registry,
        )
        self.seconds = Histogram(
            "segue_bridge_job_seconds", "Time of jobs with a result.", buckets=BUCKETS_S, registry=registry
        )
        self.running = Gauge("segue_bridge_jobs_running", "Jobs in work.", registry=registry)
        self.taken_back = Counter("segue_bridge_jobs_taken_back", "Jobs of lost workers.", registry=registry)
        self.lengths = Gauge("segue_bridge_list_length", "Lengths of the lists.", ("list",), registry=registry)
