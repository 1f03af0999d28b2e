"""What Prometheus reads."""

from __future__ import annotations

from dialogue import lineup, play

from duologue.engines.scripted import ScriptedRecognizer, ScriptedWriter
from duologue.metrics import Metrics


def sample(metrics: Metrics, name: str) -> float:
    """The value of one sample, with its labels as Prometheus writes them."""
    for line in metrics.text().decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    raise AssertionError(f"no {name} in {metrics.text().decode()}")


def measured(**scenario: object) -> Metrics:
    metrics = Metrics()
    for row in play(**scenario).rows:  # type: ignore[arg-type]
        metrics(row)
    return metrics


def test_turns_and_their_latency_are_counted() -> None:
    metrics = measured(spans=[(1, 2), (5, 6)], seconds=9)
    assert sample(metrics, "duologue_turns_total") == 2
    assert sample(metrics, 'duologue_latency_seconds_count{stage="voice_to_voice"}') == 2
    assert 0.2 < sample(metrics, 'duologue_latency_seconds_sum{stage="voice_to_voice"}') / 2 < 0.6


def test_interruptions_failures_and_opened_turns_are_counted() -> None:
    long = ScriptedWriter(replies=("This is a long reply that goes on for a while.",))
    cut = measured(spans=[(1, 2), (4.5, 6)], seconds=8, engines=lineup(writer=long))
    assert sample(cut, "duologue_replies_interrupted_total") == 1
    opened = measured(
        spans=[(1, 2), (2.6, 3.5)], seconds=7, engines=lineup(recognizer=ScriptedRecognizer(("I want to",)))
    )
    assert sample(opened, "duologue_turns_reopened_total") == 1
    failed = measured(spans=[(1, 2)], seconds=5, engines=lineup(writer=ScriptedWriter(fail_at=0)))
    assert sample(failed, 'duologue_errors_total{code="engine_failed"}') == 1


def test_sessions_are_a_gauge_and_refusals_a_counter() -> None:
    metrics = Metrics()
    metrics.sessions(3)
    metrics.refused("places")
    metrics.refused("load")
    metrics.refused("load")
    assert sample(metrics, "duologue_sessions_open") == 3
    assert sample(metrics, 'duologue_sessions_refused_total{reason="places"}') == 1
    assert sample(metrics, 'duologue_sessions_refused_total{reason="load"}') == 2


def test_two_servers_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.refused("load")
    assert "refused_total{" not in other.text().decode()
