from __future__ import annotations

import io

import pytest
from msgspec.structs import replace
from rich.console import Console

from modeldeploy.cli.live import LiveStages
from modeldeploy.cli.track import Track
from modeldeploy.cli.units import clock, moment, size, span, stamp
from modeldeploy.schema.events import Event
from modeldeploy.schema.stages import Stage
from tests.cli.stories import NO_MEMORY, story


def told(events: list[Event]) -> Track:
    track = Track()
    for event in events:
        track.add(event)
    return track


def test_while_it_downloads_there_are_bytes_speed_and_time_left() -> None:
    begun = story()[:13]
    spaced = [replace(event, time=float(number)) for number, event in enumerate(begun)]
    words = told(spaced).words(Stage.DOWNLOAD)
    assert words == "247 MB of 548 MB · 27.4 MB/s · 0:11 left"


def test_while_it_loads_there_are_tensors() -> None:
    loading = [event for event in story() if event.unit != "tensors" or event.done < 100]
    track = told([event for event in loading if event.percent < 60])
    assert track.words(Stage.LOAD) == "GPT2LMHeadModel in float32 · 74 of 148 tensors"


def test_a_stage_that_is_over_keeps_its_own_last_words() -> None:
    track = told(story())
    assert track.succeeded
    assert track.words(Stage.DOWNLOAD) == "6 files, 548 MB"
    assert track.words(Stage.VALIDATE) == "gpt2 is for text-generation"


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("end", [None, NO_MEMORY])
def test_every_frame_fits_the_terminal(width: int, end: object) -> None:
    events = story(NO_MEMORY if end else None)
    for count in range(1, len(events) + 1):
        screen = io.StringIO()
        live = LiveStages(Console(file=screen, width=width, no_color=True), "gpt2")
        for event in events[:count]:
            live(event)
        Console(file=screen, width=width, no_color=True).print(live)
        lines = screen.getvalue().splitlines()
        assert len(lines) == 8
        assert max(map(len, lines)) <= width
    mark = "✗ Load" if end else "✓ Complete"
    assert mark in screen.getvalue()


def test_a_terminal_without_unicode_gets_ascii_marks() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=raw, width=80, force_terminal=True, no_color=True)
    live = LiveStages(console, "gpt2")
    with live:
        for event in story():
            live(event)
    raw.flush()
    assert " + " in raw.buffer.getvalue().decode("ascii")


def test_numbers_read_well() -> None:
    assert [size(n) for n in (0, 999, 1000, 1_100_000, 548_118_077, 2.5e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.1 MB",
        "548 MB",
        "2.5 TB",
    ]
    assert [clock(n) for n in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]
    assert [span(n) for n in (0, 4, 725, 12000, 7200)] == ["0s", "4s", "12m 5s", "3h 20m", "2h"]


def test_moments_are_ago_rfc_3339_or_unix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 10_000.0)
    assert moment("10m") == 9400
    assert moment("1h30m") == 4600
    assert moment("1700000000.5") == 1700000000.5
    assert moment("2023-11-14T22:13:20Z") == 1700000000
    assert moment("2023-11-14T23:13:20+01:00") == 1700000000
    assert stamp(1700000000.25) == "2023-11-14T22:13:20.250Z"
    for wrong in ("", "ten", "10x", "m"):
        with pytest.raises(ValueError, match=r"(?i)iso|format"):
            moment(wrong)
