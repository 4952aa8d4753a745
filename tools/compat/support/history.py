"""What producers and consumers were told, and the anomalies that a log must not show against it.

Values are told apart by a short identity (any hashable thing): a hash of the bytes, or a number that
stands in them.
"""

from collections import Counter
from collections.abc import Hashable, Iterable

Place = tuple[int, int]
Log = dict[Place, Hashable]

SHOWN_MAX = 5


class History:
    """One topic's history over any number of restarts of its broker."""

    def __init__(self) -> None:
        #: Where each acknowledged value was said to be. A value may be acknowledged once only.
        self.acknowledged: dict[Hashable, Place] = {}
        #: What a reader has seen at each place, over all reads so far.
        self.seen: Log = {}
        #: Anomalies noted as they came.
        self.anomalies: list[str] = []
        self._committed: dict[int, int] = {}

    def acknowledge(self, value: Hashable, partition: int, offset: int) -> None:
        """A producer was told that the value is durable at the place."""
        before = self.acknowledged.setdefault(value, (partition, offset))
        if before != (partition, offset):
            self.anomalies.append(
                f"value {value!r} acknowledged at {before} and at {(partition, offset)}"
            )

    def observe(self, partition: int, offset: int, value: Hashable) -> None:
        """A consumer was shown the value at the place: it may never show another one."""
        before = self.seen.setdefault((partition, offset), value)
        if before != value:
            self.anomalies.append(
                f"inconsistent offset: {(partition, offset)} held {before!r}, now holds {value!r}"
            )

    def commit_seen(self, partition: int, offset: int) -> None:
        """A committed offset was read back: the next one read may not be lower."""
        before = self._committed.get(partition, -1)
        if offset < before:
            self.anomalies.append(
                f"committed offset of partition {partition} went back from {before} to {offset}"
            )
        else:
            self._committed[partition] = offset

    @property
    def committed(self) -> dict[int, int]:
        """The highest committed offset seen of each partition."""
        return dict(self._committed)

    def check_log(self, log: Log, exactly_once: Iterable[Hashable] | None = None) -> list[str]:
        """The anomalies of a complete read of the log, after all noted before.

        `exactly_once` are values that may not be in the log twice, acknowledged or not (None: all).
        The log's places become part of what was seen.
        """
        found: list[str] = []
        lost = [(v, p) for v, p in self.acknowledged.items() if log.get(p) != v]
        found += _few("acknowledged record lost", (f"{v!r} at {p}, there is {log.get(p)!r}" for v, p in lost))
        # A copy: a group may still be reading.
        unseen = [p for p in list(self.seen) if p not in log]
        found += _few("record seen before is gone", (f"{self.seen[p]!r} at {p}" for p in unseen))
        for (partition, offset), value in log.items():
            self.observe(partition, offset, value)
        counts = Counter(log.values())
        once = counts if exactly_once is None else exactly_once
        twice = [value for value in once if counts[value] > 1]
        found += _few("duplicate", (f"{v!r} {counts[v]} times" for v in twice))
        found += _few("gap", _gaps(log))
        ends: dict[int, int] = {}
        for partition, offset in log:
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        for partition, offset in self._committed.items():
            if offset > ends.get(partition, 0):
                found.append(
                    f"committed offset {offset} of partition {partition} is past the end"
                    f" {ends.get(partition, 0)}"
                )
        found += self.anomalies
        return found


def _gaps(log: Log) -> Iterable[str]:
    """Offsets missing between 0 and the end of each partition."""
    places: dict[int, list[int]] = {}
    for partition, offset in log:
        places.setdefault(partition, []).append(offset)
    for partition, offsets in sorted(places.items()):
        missing = sorted(set(range(max(offsets) + 1)) - set(offsets))
        for offset in missing:
            yield f"partition {partition} has no offset {offset}"


def _few(kind: str, examples: Iterable[str]) -> list[str]:
    """The first few examples and the count of all, as one anomaly; none for no example."""
    every = list(examples)
    if not every:
        return []
    return [f"{kind}: {len(every)}, such as {'; '.join(every[:SHOWN_MAX])}"]


def order_broken(log: Log, key_of, order_of) -> list[str]:
    """Keys whose values do not stand in the order in which they were sent."""
    last: dict[Hashable, tuple[int, int]] = {}
    broken: list[str] = []
    for (partition, offset), value in sorted(log.items()):
        key = key_of(value)
        if key is None:
            continue
        order = order_of(value)
        before = last.get(key)
        if before is not None and before[0] != partition:
            broken.append(f"key {key!r} is in partitions {before[0]} and {partition}")
        elif before is not None and order <= before[1]:
            broken.append(f"key {key!r}: {order} at {(partition, offset)} comes after {before[1]}")
        last[key] = (partition, order)
    return _few("order within a key", broken)
