"""Counters and histograms for Prometheus, read off the trace rows of all sessions. Names and units are in docs/deployment.md."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from duologue.trace import Row

LATENCY_BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)


class Metrics:
    """A trace sink, shared by all sessions of one server; a registry of its own, so that two servers can live in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own = self._registry
        self._open = Gauge("duologue_sessions_open", "Conversations now", registry=own)
        self._refused = Counter("duologue_sessions_refused", "Conversations refused: no place left", registry=own)
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
            case "Commit":
                self._turns.inc()
            case "Interrupted":
                self._interrupted.inc()
            case "Reopened":
                self._reopened.inc()
            case "Failure":
                self._errors.labels(row["code"]).inc()
            case "Latency":
                for stage, ms in row["marks"].items():
                    self._stages.labels(stage).observe(ms / 1000)

    def sessions(self, count: int) -> None:
        self._open.set(count)

    def refused(self) -> None:
        self._refused.inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)
