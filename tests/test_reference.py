from __future__ import annotations

import pytest

from tools import promises
from tools.reference import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_pages_say_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run make format"


def test_every_promise_has_a_test() -> None:
    proofs = promises.collect()
    assert not promises.unproved(proofs)
    assert {proof.promise for proof in proofs} <= promises.PROMISES.keys()
    assert all(proof.fault for proof in proofs)
