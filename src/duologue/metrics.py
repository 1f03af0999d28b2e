"""Counters and histograms for Prometheus, read off the trace rows of all sessions. Names and units are in docs/deployment.md."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from duologue.trace import Row

LATENCY_BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
LATE_BUCKETS_S = (0.001, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512)  # a frame is 0.032


class Metrics:
    """A trace sink, shared by all sessions of one server; a registry of its own, so that two servers can live in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own = self._registry
        self._open = Gauge("duologue_sessions_open", "Conversations now", registry=own)
        self._refused = Counter("duologue_sessions_refused", "Conversations refused", ["reason"], registry=own)
        self._busy = Gauge("duologue_engine_busy", "Share of its time that an engine works", ["engine"], registry=own)
        self._late = Histogram(
            "duologue_loop_late_seconds", "How late the event loop is", buckets=LATE_BUCKETS_S, registry=own
        )
        self._turns = Counter("duologue_turns", "User turns answered", registry=own)
        self._interrupted = Counter("duologue_replies_interrupted", "Replies cut short by the user", registry=own)
        self._reopened = Counter("duologue_turns_reopened", "Turns that had been closed too early", registry=own)
        self._errors = Counter("duologue_errors", "Failures told to clients", ["code"], registry=own)
        self._stages = Histogram(
            "duologue_latency_seconds",
            "From the user's last voiced sample to each stage of the reply",
            ["stage"],
            buckets=LATENCY_BUCKETS_S,
            registry=own,
        )

    def __call__(self, row: Row) -> None:
        match row["name"]:
            case "Commit" | "Close":
                self._turns.inc()
            case "Interrupted":
                self._interrupted.inc()
            case "Reopened":
                self._reopened.inc()
            case "Failure":
                self._errors.labels(row["code"]).inc()
            case "Degraded":
                self._errors.labels("degraded").inc()
            case "Latency":
                for stage, ms in row["marks"].items():
                    self._stages.labels(stage).observe(ms / 1000)

    def sessions(self, count: int) -> None:
        self._open.set(count)

    def refused(self, reason: str) -> None:
        """`places`: all are taken; `load`: the machine is at its capacity."""
        self._refused.labels(reason).inc()

    def busy(self, shares: Mapping[str, float]) -> None:
        for engine, share in shares.items():
            self._busy.labels(engine).set(share)

    def loop_late(self, seconds: float) -> None:
        self._late.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)
