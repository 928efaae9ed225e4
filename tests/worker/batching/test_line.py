"""Who had a turn goes behind those who had none, but is not left out for them."""

from __future__ import annotations

from modeldeploy.worker.batching.line import Line


def served(line: Line[str], turns: int, comes: str = "") -> str:
    """Whose turns these are, while after each another comes."""
    found = ""
    for number in range(turns):
        one = next(iter(line))
        found += one[0]
        line.turned_to(one)
        if comes:
            line.remove(one) if one.startswith(comes) else None
            line.add(f"{comes}{number}")
    return found


def test_who_comes_first_is_first_and_then_all_have_turns() -> None:
    line: Line[str] = Line()
    for one in "abc":
        line.add(one)
    assert served(line, 9) == "abcabcabc"
    assert list(line) == ["a", "b", "c"]
    assert len(line) == 3


def test_who_comes_next_does_not_wait_for_those_who_had_a_turn() -> None:
    line: Line[str] = Line()
    for one in "abc":
        line.add(one)
    served(line, 4)
    line.add("d")
    assert served(line, 2) == "db"


def test_who_had_a_turn_has_one_of_four_however_many_come() -> None:
    line: Line[str] = Line()
    line.add("a")
    served(line, 1)
    line.add("n")
    assert served(line, 12, comes="n") == "nnannnannnan"


def test_who_left_is_not_there() -> None:
    line: Line[str] = Line()
    line.add("a")
    line.add("b")
    line.turned_to("a")
    line.remove("a")
    line.remove("b")
    line.remove("b")
    assert not line
    assert not list(line)
