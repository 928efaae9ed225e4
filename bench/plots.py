"""The results in ``bench/results`` as pictures in ``docs/plots``, PNG and SVG.

Colours are those of Okabe and Ito, told apart by people who see colours differently.
``python -m bench.plots``
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from bench import results
from bench.peers.catalog import PEERS
from bench.peers.serving import OPTIMIZED, OURS

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "plots"
_OURS, _THEIRS, _OTHER = "#0072B2", "#BBBBBB", "#D55E00"
_WIDTH = 8.3  # inches; at 100 pixels each that is a README's column
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "svg.hashsalt": "modeldeploy",  # the same file for the same figures
}
_TITLES = {
    "classification": ("DistilBERT-base's shape, classification", "texts a second"),
    "embeddings": ("all-MiniLM-L6-v2, embeddings", "texts a second"),
    "many": ("all-MiniLM-L6-v2, many texts a request", "texts a second"),
    "noop": ("no model: what the server itself costs", "requests a second"),
    "image": ("ViT-small's shape, image classification", "images a second"),
    "chat": ("SmolLM2-135M, streamed chat", "tokens a second"),
}


def peers(found: Mapping[str, Any]) -> Figure:
    """A panel for each number of clients, a bar for each server that was measured."""
    title, unit = _TITLES[found["workload"]]
    dtype = found.get("dtype", "float32")
    gpu = found["machine"].get("gpu") if found.get("device", "cpu") != "cpu" else ""
    if found["workload"] != "noop":
        title += f", {dtype} on an {gpu}" if gpu else f", {dtype}"
    if OPTIMIZED in found["servers"]:
        title += " unless told"
    servers = {name: one for name, one in found["servers"].items() if one["rates"]}
    cases = list(dict.fromkeys(case for one in servers.values() for case in one["rates"]))
    figure, panels = _panels(1, len(cases), 0.9 + 0.3 * len(servers), sharey=True)
    names = sorted(servers, key=lambda name: name not in (OURS, OPTIMIZED))[::-1]
    for panel, case in zip(panels, cases, strict=True):
        values = [results.median(servers[name]["rates"].get(case, [])) or 0.0 for name in names]
        labels = [PEERS[name].title if name in PEERS else name for name in names]
        colours = [_OURS if name in (OURS, OPTIMIZED) else _THEIRS for name in names]
        _bars(panel, labels, values, colours, unit)
        panel.set_title(case if " " in case else f"{case} client{'s' * (case != '1')}")
    figure.suptitle(title)
    return figure


def scaling(found: Mapping[str, Any]) -> Figure:
    """A panel for each curve."""
    curves = {name: curve for name, curve in found["curves"].items() if name in _CURVES}
    rows = (len(curves) + 1) // 2
    figure, panels = _panels(rows, 2, 2.6 * rows)
    for panel, name in zip(panels, curves, strict=False):
        _CURVES[name](panel, curves[name])
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    return figure


def cold(found: Mapping[str, Any]) -> Figure:
    """How soon a cached model answers, and what one more deployment of it takes."""
    figure, (times, memory) = _panels(1, 2, 1.9)
    seconds = {"a pipeline in a new process": found["pipeline_s"], **found["answer_s"]}
    _medians(times, seconds, "from typed to the first answer, seconds")
    _medians(memory, found["memory_mb"], "private memory of one more, MB")
    figure.suptitle("all-MiniLM-L6-v2 in the cache, supervisor warm")
    return figure


def pair(found: Mapping[str, Any]) -> Figure:
    """Two busy deployments beside one."""
    figure, (panel,) = _panels(1, 1, 1.5)
    _medians(panel, {"one alone": found["one"], "two, their sum": found["two"]}, "texts a second")
    figure.suptitle(f"all-MiniLM-L6-v2, {found['clients']} clients a deployment, two cores")
    return figure


def _medians(panel: Axes, taken: Mapping[str, Sequence[float]], unit: str) -> None:
    names = list(taken)[::-1]
    values = [results.median(taken[name]) or 0.0 for name in names]
    colours = [_THEIRS if "pipeline" in name else _OURS for name in names]
    _bars(panel, names, values, colours, unit)


def _bars(
    panel: Axes,
    labels: Sequence[str],
    values: Sequence[float],
    colours: Sequence[str],
    unit: str,
) -> None:
    bars = panel.barh(labels, values, color=colours)
    panel.bar_label(bars, [results.number(value) for value in values], padding=2)
    panel.set_xlabel(unit)
    panel.margins(x=0.25)
    panel.tick_params(axis="y", length=0)


def _clients(panel: Axes, curve: Mapping[str, Any]) -> None:
    panel.plot(curve["clients"], curve["texts_per_s"], "o-", color=_OURS, label="texts a second")
    other = panel.twinx()
    other.plot(curve["clients"], curve["p95_ms"], "s--", color=_OTHER, label="latency, p95")
    other.set_ylabel("latency, p95, ms", color=_OTHER)
    other.set_ylim(bottom=0)
    other.spines["right"].set_visible(True)
    _axes(panel, "clients at once", "texts a second", curve["clients"])
    panel.yaxis.label.set_color(_OURS)


def _tokens(panel: Axes, curve: Mapping[str, Any]) -> None:
    panel.plot(curve["tokens"], curve["p50_ms"], "o-", color=_OURS)
    _axes(panel, "tokens of the text, one client", "latency, p50, ms", curve["tokens"])


def _queued(panel: Axes, curve: Mapping[str, Any]) -> None:
    panel.plot(curve["queued"], curve["texts_per_s"], "o-", color=_OURS)
    _axes(panel, "texts that wait at once", "texts a second", curve["queued"])


def _deployments(panel: Axes, curve: Mapping[str, Any]) -> None:
    panel.plot(curve["deployments"], curve["workers_mb"], "o-", color=_OURS)
    panel.set_xlabel("deployments")
    panel.set_ylabel("memory of all workers, MB", color=_OURS)
    panel.set_ylim(bottom=0)
    other = panel.twinx()
    other.plot(curve["deployments"], curve["deploy_s"], "s--", color=_OTHER)
    other.set_ylabel("time of one more deploy, s", color=_OTHER)
    other.set_ylim(bottom=0)
    other.spines["right"].set_visible(True)


_CURVES: dict[str, Callable[[Axes, Mapping[str, Any]], None]] = {
    "clients": _clients,
    "tokens": _tokens,
    "queued": _queued,
    "deployments": _deployments,
}


def _axes(panel: Axes, horizontal: str, vertical: str, ticks: Sequence[float]) -> None:
    panel.set_xscale("log", base=2 if len(ticks) > 4 else 10)
    panel.set_xticks(ticks)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel(horizontal)
    panel.set_ylabel(vertical)
    panel.set_ylim(bottom=0)


def _panels(
    rows: int, columns: int, height: float, *, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    figure, panels = plt.subplots(
        rows, columns, figsize=(_WIDTH, height), squeeze=False, sharey=sharey
    )
    return figure, list(panels.flat)


def _save(figure: Figure, name: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / f"{name}.png")
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
    print(FOLDER / f"{name}.png")


_FIGURES: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
    "peers": peers,
    "scaling": scaling,
    "cold": cold,
    "pair": pair,
}


def main() -> None:
    mpl.use("Agg")
    with plt.rc_context(_STYLE):
        for path in sorted(results.FOLDER.glob("*.json")):
            found = json.loads(path.read_text())
            if drawn := _FIGURES.get(found["benchmark"]):
                _save(drawn(found), path.stem)


if __name__ == "__main__":
    main()
