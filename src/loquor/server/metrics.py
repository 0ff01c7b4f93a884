"""What a server tells Prometheus of itself (text format 0.0.4). Nothing is sent anywhere: it is asked for."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from loquor.server.admission import Admission

WAITS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30)
RATIOS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 2, 4)


class Metrics:
    """One registry per server, so that two in a process do not count each other's."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "loquor_requests", "Requests for speech, by how they ended", ["protocol", "outcome"], registry=registry
        )
        self.first_audio = Histogram(
            "loquor_first_audio_seconds", "From text to its first sound", buckets=WAITS_S, registry=registry
        )
        self.queue_wait = Histogram(
            "loquor_queue_wait_seconds", "Wait for a slot", buckets=(0, *WAITS_S), registry=registry
        )
        self.rtf = Histogram(
            "loquor_real_time_factor",
            "Compute seconds per second of a stream's audio; above 1 its listener hears gaps",
            buckets=RATIOS,
            registry=registry,
        )
        self.audio = Counter("loquor_audio_seconds", "Seconds of speech made", registry=registry)
        self.gaps = Counter("loquor_gaps", "Pieces made after the one before had been played", registry=registry)
        self._refusals = Counter("loquor_refusals", "Requests that got no slot, by why", ["reason"], registry=registry)

    def watch(self, admission: Admission) -> None:
        """Tell of slots and the queue too."""
        registry = self._registry
        slots = Gauge("loquor_slots", "Streams that can speak at once", registry=registry)
        slots.set(admission.slots)
        busy = Gauge("loquor_slots_in_use", "Streams that speak now", registry=registry)
        busy.set_function(lambda: len(admission.running))
        queue = Gauge("loquor_queue_length", "Requests that wait for a slot", registry=registry)
        queue.set_function(lambda: len(admission.waiting))
        clients = Gauge("loquor_queue_clients", "Clients whose requests these are", registry=registry)
        clients.set_function(lambda: len({ticket.client.share for ticket in admission.waiting}))

    def refused(self, reason: str) -> None:
        """For `Admission`."""
        self._refusals.labels(reason).inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)
