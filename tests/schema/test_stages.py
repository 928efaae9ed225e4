from __future__ import annotations

from itertools import pairwise

from modeldeploy.schema.stages import SHARE, Stage, overall
from modeldeploy.schema.states import MOVES, State


def test_the_stages_cover_everything_from_0_to_100_in_order() -> None:
    shares = [SHARE[stage] for stage in Stage]
    assert shares[0][0] == 0
    assert shares[-1][1] == 100
    assert all(left[1] == right[0] for left, right in pairwise(shares))


def test_a_fraction_out_of_bounds_stays_within_its_stage() -> None:
    assert overall(Stage.DOWNLOAD, -1) == 10
    assert overall(Stage.DOWNLOAD, 0.5) == 32.5
    assert overall(Stage.DOWNLOAD, 2) == 55


def test_every_state_has_its_row_and_can_be_left_and_reached() -> None:
    assert set(MOVES) == set(State)
    assert all(MOVES.values())
    assert set().union(*MOVES.values()) == set(State)
