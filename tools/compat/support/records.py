"""The records that clients exchange, drawn from a seed."""

import random
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
LARGE_VALUE_BYTES = 900_000

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Record:
    """What a producer is given."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def __repr__(self) -> str:
        return f"Record(key={brief(self.key)}, value={brief(self.value)}, headers={self.headers})"


@dataclass(frozen=True)
class Read:
    """What a consumer saw, and where. A timestamp of None is one that the client does not show."""

    partition: int
    offset: int
    timestamp: int | None
    record: Record

    @property
    def place(self) -> tuple[int, int]:
        return (self.partition, self.offset)


def brief(value: bytes | None) -> str:
    """A value as an error message shows it: whole when short, else length and hash."""
    if value is None:
        return "null"
    if len(value) <= 24:
        return repr(value)
    return f"<{len(value)} bytes, hash {blake2b(value, digest_size=6).hexdigest()}>"


class Draw:
    """Draws records. With `text`, keys and values are ASCII letters, for clients that read lines."""

    def __init__(self, seed: str, text: bool):
        self._random = random.Random(seed)
        self._text = text

    def _bytes(self, length: int) -> bytes:
        if self._text:
            return self._random.randbytes((length + 1) // 2).hex().encode()[:length]
        return self._random.randbytes(length)

    def plain(self, count: int, keyed: bool) -> list[Record]:
        """Records of up to 2 KB, half of each value repeated so that a codec has work to do."""
        records = []
        for _ in range(count):
            half = self._bytes(self._random.randint(8, 1000))
            key = self._bytes(self._random.randint(1, 24)) if keyed else None
            records.append(Record(key, half + half))
        return records

    def special(self) -> dict[str, list[Record]]:
        """The records that clients and brokers get wrong, by the name of the check."""
        value = self._bytes(100)
        binary = b"text only" if self._text else b"\x00\xff\n\r=,\x80"
        return {
            "headers": [
                Record(self._bytes(8), self._bytes(50), (("trace", b"abc"), ("empty", b""))),
                Record(None, self._bytes(50), (("twice", b"1"), ("twice", b"2"))),
            ],
            "binary headers": [Record(self._bytes(8), value, (("raw", binary),))],
            "null headers": [Record(self._bytes(8), value, (("null", None), ("after", b"x")))],
            "null value": [Record(self._bytes(8), None)],
            "empty value": [Record(self._bytes(8), b"")],
            "large value": [Record(self._bytes(8), self._bytes(LARGE_VALUE_BYTES))],
        }


def difference(expected: list[Record], got: list[Record]) -> str | None:
    """What is missing from or too much in `got`, in words; None when both hold the same records."""
    missing = Counter(expected) - Counter(got)
    extra = Counter(got) - Counter(expected)
    if not missing and not extra:
        return None
    parts = []
    if missing:
        parts.append(f"{missing.total()} missing, first {next(iter(missing))}")
    if extra:
        parts.append(f"{extra.total()} not written or twice, first {next(iter(extra))}")
    return "; ".join(parts)


def without_header_bytes(record: Record) -> Record:
    """The record without its headers, for a reader that cannot show them exactly."""
    return replace(record, headers=())
