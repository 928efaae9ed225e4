"""Writes the model card with measured figures: `python -m training.sentiment.card`.

It reads the held-out set, so it is run once, when the model is finished.
"""

from __future__ import annotations

import math
from pathlib import Path
from string import Template

from safetensors import safe_open

from modeldeploy import builtin
from training.sentiment.evaluate import HELD_OUT, Scores, compare, read_examples

TEMPLATE = Path(__file__).with_name("card.md")
NAMES = {"all": "**all**", "NEGATIVE": "negative ones", "POSITIVE": "positive ones"}


def count_parameters(weights: Path) -> int:
    """The number of weights in a safetensors file."""
    with safe_open(weights, framework="numpy") as tensors:
        names: list[str] = list(tensors.keys())
        shapes = [tensors.get_slice(name).get_shape() for name in names]
    return sum(math.prod(shape) for shape in shapes)


def render_table(compared: dict[str, Scores]) -> str:
    """One Markdown row for all sentences, each kind and each label, in per cent."""
    rows = []
    for row, reference in compared["model"].items():
        cells = [NAMES.get(row, row), str(reference.total)]
        cells += [f"{100 * scores[row].accuracy:.1f}" for scores in compared.values()]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def render(compared: dict[str, Scores], weights: Path) -> str:
    """The card's text; `compared` comes from `evaluate.compare`."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        parameters=f"{count_parameters(weights):,}",
        megabytes=f"{weights.stat().st_size / 1e6:.1f}",
        total=compared["model"]["all"].total,
        table=render_table(compared),
    )


def main() -> None:
    """Measure and write README.md beside the weights."""
    folder = builtin.path("sentiment")
    text = render(compare(read_examples(HELD_OUT), folder), folder / "model.safetensors")
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
