"""A checker that never failed proves nothing: one hand-made bad history for each anomaly."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.history import History, order_broken


class HistoryFinds(unittest.TestCase):
    def setUp(self) -> None:
        self.history = History()
        for offset, value in enumerate(("a", "b", "c")):
            self.history.acknowledge(value, 0, offset)
        self.log = {(0, 0): "a", (0, 1): "b", (0, 2): "c"}

    def assert_found(self, what: str, log: dict, **options) -> None:
        found = self.history.check_log(log, **options)
        self.assertTrue(any(what in anomaly for anomaly in found), found)

    def test_nothing_in_a_good_history(self) -> None:
        self.history.commit_seen(0, 1)
        self.history.commit_seen(0, 3)
        self.assertEqual(self.history.check_log(self.log), [])
        self.log[(0, 3)] = "not acknowledged, yet written"
        self.assertEqual(self.history.check_log(self.log), [])

    def test_a_lost_acknowledged_record(self) -> None:
        del self.log[(0, 2)]
        self.assert_found("acknowledged record lost: 1", self.log)

    def test_an_acknowledged_record_at_another_offset(self) -> None:
        self.assert_found("lost", {(0, 0): "b", (0, 1): "a", (0, 2): "c"})

    def test_an_offset_that_shows_another_value_than_before(self) -> None:
        self.history.observe(0, 3, "seen")
        self.assert_found("inconsistent offset", self.log | {(0, 3): "other"})

    def test_a_record_that_was_shown_and_is_gone(self) -> None:
        self.history.observe(0, 3, "seen")
        self.assert_found("record seen before is gone", self.log)

    def test_a_duplicate(self) -> None:
        self.assert_found("duplicate", self.log | {(0, 3): "a"})

    def test_no_duplicate_where_a_producer_may_repeat(self) -> None:
        log = self.log | {(0, 3): "a"}
        self.assertEqual(self.history.check_log(log, exactly_once=["b"]), [])

    def test_a_gap(self) -> None:
        self.assert_found("partition 0 has no offset 3", self.log | {(0, 4): "e"})

    def test_a_value_acknowledged_at_two_places(self) -> None:
        self.history.acknowledge("a", 0, 9)
        self.assert_found("acknowledged at (0, 0) and at (0, 9)", self.log)

    def test_a_committed_offset_that_goes_back(self) -> None:
        self.history.commit_seen(0, 2)
        self.history.commit_seen(0, 1)
        self.assert_found("went back from 2 to 1", self.log)

    def test_a_committed_offset_past_the_end(self) -> None:
        self.history.commit_seen(0, 4)
        self.assert_found("past the end", self.log)

    def test_order_broken_within_a_key(self) -> None:
        log = {(0, 0): ("k", 2), (0, 1): ("k", 1)}
        found = order_broken(log, lambda v: v[0], lambda v: v[1])
        self.assertTrue(any("order within a key" in anomaly for anomaly in found), found)

    def test_a_key_in_two_partitions(self) -> None:
        log = {(0, 0): ("k", 1), (1, 0): ("k", 2)}
        self.assertTrue(order_broken(log, lambda v: v[0], lambda v: v[1]))


if __name__ == "__main__":
    unittest.main()
