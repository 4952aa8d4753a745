"""A comparison that never failed proves nothing: what it must say, and what it must not."""

import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from counts import STORED, Stored, compare, counts_of

MADE_WITH = {"compiler": "rustc 1.95.0", "valgrind": "valgrind-3.19.0"}


def summary(crate: str, function: str, case: str, values: dict) -> str:
    metrics = {"Ir": {"values": values}}
    return json.dumps({
        "module_path": f"hot_counts::{crate}_group::{function}",
        "id": case,
        "profiles": [{"data": {"total": {"metrics": metrics}}}],
    })


class CompareSays(unittest.TestCase):
    def compare(self, before: dict, after: dict, made_with: dict = MADE_WITH) -> tuple[bool, str]:
        passes, lines = compare(Stored(MADE_WITH, before), made_with, after)
        return passes, "\n".join(lines)

    def test_that_five_percent_more_is_allowed_and_one_instruction_above_is_not(self) -> None:
        self.assertTrue(self.compare({"a": 1000}, {"a": 1050})[0])
        passes, said = self.compare({"a": 1000}, {"a": 1051})
        self.assertFalse(passes)
        self.assertIn("GREW    a: stored 1000, now 1051 (+5.10 %), allowed 1050", said)

    def test_that_the_allowed_is_not_rounded_up(self) -> None:
        self.assertTrue(self.compare({"a": 19}, {"a": 19})[0])
        self.assertFalse(self.compare({"a": 19}, {"a": 20})[0])

    def test_that_one_which_grew_is_not_outweighed_by_others(self) -> None:
        passes, said = self.compare({"a": 1000, "b": 1000}, {"a": 1100, "b": 1})
        self.assertFalse(passes)
        self.assertIn("GREW    a", said)
        self.assertIn("SHRANK  b", said)

    def test_to_store_what_shrank_by_more_than_five_percent(self) -> None:
        passes, said = self.compare({"a": 1000}, {"a": 949})
        self.assertTrue(passes)
        self.assertIn("SHRANK", said)
        self.assertIn("counts.py store", said)
        self.assertNotIn("SHRANK", self.compare({"a": 1000}, {"a": 950})[1])

    def test_that_names_on_one_side_only_fail(self) -> None:
        passes, said = self.compare({"a": 10}, {"b": 10})
        self.assertFalse(passes)
        self.assertIn("GONE    a", said)
        self.assertIn("NEW     b", said)

    def test_what_differs_where_it_cannot_judge(self) -> None:
        other = MADE_WITH | {"compiler": "rustc 1.96.0"}
        passes, said = self.compare({"a": 1000}, {"a": 2000}, other)
        self.assertTrue(passes)
        self.assertIn("GREW    a", said)
        self.assertIn("cannot judge growth: compiler is rustc 1.96.0 here", said)
        self.assertIn("of rustc 1.95.0", said)
        self.assertFalse(self.compare({"a": 1000}, {}, other)[0], "names are judged in any case")


class CountsAreRead(unittest.TestCase):
    def test_of_a_first_run_and_of_one_after_another(self) -> None:
        output = "\n".join([
            "not a summary",
            summary("engine", "append", "plain", {"new": 7}),
            summary("broker", "append", "plain", {"new": 8, "old": 9}),
        ])
        self.assertEqual(
            counts_of(output), {"engine/append/plain": 7, "broker/append/plain": 8}
        )

    def test_and_never_guessed(self) -> None:
        line = summary("engine", "append", "plain", {"new": 7})
        with self.assertRaises(ValueError):
            counts_of("")
        with self.assertRaises(ValueError):
            counts_of(f"{line}\n{line}")
        with self.assertRaises(KeyError):
            counts_of(summary("engine", "append", "plain", {"old": 7}))

    def test_back_as_they_were_stored(self) -> None:
        stored = Stored(MADE_WITH, {"b": 2, "a": 1})
        again = Stored.from_text(stored.to_text())
        self.assertEqual((again.made_with, again.counts), (MADE_WITH, {"a": 1, "b": 2}))

    def test_from_the_file_in_the_form_in_which_they_are_stored(self) -> None:
        text = STORED.read_text()
        self.assertEqual(Stored.from_text(text).to_text(), text)


if __name__ == "__main__":
    unittest.main()
