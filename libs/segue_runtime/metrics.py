"""Metrics of a process: its Prometheus registry, and the port that serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

CALL_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
WAIT_BUCKETS_S = (0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)
LAG_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)


class Metrics:
    """The metrics of every role; components add theirs to `registry`. Labels name methods, never compositions."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        by_method = ("service", "method")
        self.started = Counter("segue_rpc_started", "Calls started.", by_method, registry=self.registry)
        self.ended = Counter("segue_rpc_handled", "Calls ended, by code.", (*by_method, "code"), registry=self.registry)
        self.seconds = Histogram(
            "segue_rpc_handling_seconds",
            "Time of calls.",
            by_method,
            buckets=CALL_BUCKETS_S,
            registry=self.registry,
        )
        self.received = Counter("segue_rpc_msg_received", "Messages received.", by_method, registry=self.registry)
        self.sent = Counter("segue_rpc_msg_sent", "Messages sent.", by_method, registry=self.registry)
        self.loop_lag = Histogram(
            "segue_loop_lag_seconds", "Lag of the event loop.", buckets=LAG_BUCKETS_S, registry=self.registry
        )
        self.queue_depth = Gauge("segue_queue_depth", "Waiting jobs, by kind.", ("kind",), registry=self.registry)
        self.sections_waiting = Gauge(
            "segue_sections_waiting", "Sections in the line of the pool, by model.", ("model",), registry=self.registry
        )
        self.section_wait = Histogram(
            "segue_section_wait_seconds",
            "Time of sections in the line until they had a slot.",
            ("model",),
            buckets=WAIT_BUCKETS_S,
            registry=self.registry,
        )
        self.leases_expired = Counter(
            "segue_leases_expired", "Jobs taken over from a conductor that was lost.", ("kind",), registry=self.registry
        )
        self.running = Gauge("segue_jobs_running", "Jobs that this process runs.", registry=self.registry)
        self.watchers = Gauge("segue_watchers", "Open watch streams of this process.", registry=self.registry)

    def serve(self, address: str) -> MetricsPort:
        """Serve HTTP on HOST:PORT in a separate thread."""
        host, _, port = address.rpartition(":")
        server, thread = start_http_server(int(port), host.strip("[]"), registry=self.registry)
        return MetricsPort(server, thread)


class MetricsPort:
    """The HTTP server of the metrics."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server = server
        self._thread = thread
        self.port = server.server_port

    def close(self) -> None:
        """Close the port and wait for the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
