"""Accuracy of the saved model, and of VADER, on a file of labelled sentences.

`python -m training.sentiment.evaluate` reads the development set; with `--held-out` it reads
`everyday.tsv`, the test set that nobody who works on the model looks at. Only totals come out.

VADER's compound score is read in two ways. Strict, as its authors advise: positive from 0.05 up,
negative from -0.05 down, and what lies between counts as wrong, for neither label is "neutral".
Lenient: every score above zero is positive, every other negative.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from modeldeploy import builtin

FOLDER = Path(__file__).parent
DEVELOPMENT = FOLDER / "dev.tsv"
HELD_OUT = FOLDER / "everyday.tsv"
LABELS = ("NEGATIVE", "POSITIVE")
VADER_MARGIN = 0.05
BATCH = 50


@dataclass(frozen=True)
class Example:
    """One labelled sentence; `kind` is plain, negation, contrast, slang or long."""

    label: str
    kind: str
    text: str


@dataclass(frozen=True)
class Score:
    """How many of how many were right."""

    right: int
    total: int

    @property
    def accuracy(self) -> float:
        """The share that was right, 0 to 1."""
        return self.right / self.total


Judge = Callable[[list[str]], list[str]]
Scores = dict[str, Score]


def read_examples(path: Path) -> list[Example]:
    """Read lines of label, kind and text, parted by tabs; a heading line is skipped."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t", 2) for line in lines if line.count("\t") >= 2]
    return [Example(row[0].upper(), row[1], row[2]) for row in rows if row[0].upper() in LABELS]


def model_judge(folder: Path) -> Judge:
    """The labels that the model saved in `folder` gives."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def judge(texts: list[str]) -> list[str]:
        labels: list[str] = []
        for start in range(0, len(texts), BATCH):
            chunk = texts[start : start + BATCH]
            inputs = tokenizer(chunk, padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                best = model(**inputs).logits.argmax(-1).tolist()
            labels += [model.config.id2label[i] for i in best]
        return labels

    return judge


def vader_judge(lenient: bool) -> Judge:
    """VADER's labels by the strict or the lenient rule; `""` is the strict rule's neutral."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # of the dev group only

    analyzer = SentimentIntensityAnalyzer()

    def label(text: str) -> str:
        compound = analyzer.polarity_scores(text)["compound"]
        if lenient:
            return "POSITIVE" if compound > 0 else "NEGATIVE"
        return (
            "POSITIVE"
            if compound >= VADER_MARGIN
            else "NEGATIVE"
            if compound <= -VADER_MARGIN
            else ""
        )

    return lambda texts: [label(text) for text in texts]


def score(examples: list[Example], judge: Judge) -> Scores:
    """Totals under "all", each kind and each label."""
    guesses = judge([example.text for example in examples])
    hits = [(e, e.label == guess) for e, guess in zip(examples, guesses, strict=True)]

    def tally(right: Iterable[bool]) -> Score:
        answers = list(right)
        return Score(sum(answers), len(answers))

    scores = {"all": tally(hit for _, hit in hits)}
    for kind in sorted({e.kind for e in examples}):
        scores[kind] = tally(hit for e, hit in hits if e.kind == kind)
    for name in LABELS:
        scores[name] = tally(hit for e, hit in hits if e.label == name)
    return scores


def compare(examples: list[Example], folder: Path) -> dict[str, Scores]:
    """Scores of the model in `folder`, of VADER by the strict rule and by the lenient one."""
    return {
        "model": score(examples, model_judge(folder)),
        "vader": score(examples, vader_judge(lenient=False)),
        "vader_lenient": score(examples, vader_judge(lenient=True)),
    }


def main() -> None:
    """Print a table of accuracies in per cent."""
    parser = argparse.ArgumentParser(description="Accuracy of the sentiment model and of VADER.")
    parser.add_argument("--held-out", action="store_true", help="read everyday.tsv, not dev.tsv")
    parser.add_argument("--model", type=Path, default=builtin.path("sentiment"))
    arguments = parser.parse_args()
    examples = read_examples(HELD_OUT if arguments.held_out else DEVELOPMENT)
    compared = compare(examples, arguments.model)
    print(f"{'':10} {'n':>4} " + " ".join(f"{name:>13}" for name in compared))
    for row in compared["model"]:
        cells = [f"{100 * scores[row].accuracy:>13.1f}" for scores in compared.values()]
        print(f"{row:10} {compared['model'][row].total:>4} " + " ".join(cells))


if __name__ == "__main__":
    main()
