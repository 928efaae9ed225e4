"""Writes the model card with measured figures: `python -m training.digits.card`."""

from __future__ import annotations

from pathlib import Path
from string import Template

from modeldeploy import builtin
from training.digits.data import load_split
from training.digits.evaluate import SIDES, Accuracies, accuracies

TEMPLATE = Path(__file__).with_name("card.md")


def render(found: Accuracies, weights: Path) -> str:
    """The card's text; `found` comes from `evaluate.accuracies`."""
    training, held_out = load_split()
    rows = [
        f"| {side} x {side} | {100 * found[side, False]:.1f} | {100 * found[side, True]:.1f} |"
        for side in SIDES
    ]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        kilobytes=f"{weights.stat().st_size / 1e3:.0f}",
        train_count=f"{len(training.labels):,}",
        test_count=len(held_out.labels),
        table="\n".join(rows),
    )


def main() -> None:
    """Measure and write README.md beside the weights."""
    folder = builtin.path("digits")
    text = render(accuracies(folder), folder / "model.safetensors")
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
