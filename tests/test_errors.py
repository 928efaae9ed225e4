from __future__ import annotations

from modeldeploy import errors
from modeldeploy.schema.problem import Problem


def kinds(root: type[errors.ModelDeployError]) -> list[type[errors.ModelDeployError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]


def test_an_error_survives_the_wire_as_what_it_is() -> None:
    for kind in kinds(errors.ModelDeployError):
        back = errors.from_problem(kind("what", "do this", ("a line",)).problem())
        assert back.code == kind.code
        assert (back.message, back.hint, back.details) == ("what", "do this", ("a line",))


def test_every_code_is_of_one_kind_only() -> None:
    ours = [kind for kind in kinds(errors.ModelDeployError) if kind.__module__ == errors.__name__]
    own = [kind.__dict__["code"] for kind in ours if "code" in kind.__dict__]
    assert len(own) == len(set(own))


def test_an_unknown_code_of_a_newer_version_is_still_an_error() -> None:
    problem = Problem(code="from_the_future", message="what")
    assert type(errors.from_problem(problem)) is errors.ModelDeployError
