from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from modeldeploy.schema.control import LogLine
from modeldeploy.supervisor import logs


def stamp(second: int) -> str:
    return f"2026-11-24T02:00:{second:02d}.500000Z "


def rotate(log: Path) -> None:
    for number in range(3, 0, -1):
        younger = Path(f"{log}.{number - 1}") if number > 1 else log
        if younger.exists():
            younger.rename(f"{log}.{number}")


def test_lines_without_a_time_belong_to_the_line_before(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(stamp(1) + "INFO one\nTraceback\n" + stamp(2) + "INFO two\n")
    lines = logs.read(log)
    assert [line.text for line in lines] == ["INFO one", "Traceback", "INFO two"]
    assert lines[0].time == lines[1].time < lines[2].time


def test_tail_and_since_reach_into_rotated_files(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    Path(f"{log}.2").write_text(stamp(1) + "1\n")
    Path(f"{log}.1").write_text(stamp(2) + "2\n" + stamp(3) + "3\n")
    log.write_text(stamp(4) + "4\n")
    assert [line.text for line in logs.read(log)] == ["1", "2", "3", "4"]
    assert [line.text for line in logs.read(log, tail=2)] == ["3", "4"]
    since = logs.read(log)[1].time
    assert [line.text for line in logs.read(log, since=since)] == ["2", "3", "4"]
    assert logs.read(tmp_path / "none.log") == []


def test_follow_loses_nothing_across_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(stamp(1) + "old\n")

    async def scenario() -> list[str]:
        gone = False
        stream = logs.follow(log, tail=None, since=None, ended=lambda: gone)
        got = [(await anext_(stream)).text]
        with log.open("a") as file:
            file.write(stamp(2) + "more\n" + stamp(3) + "half")
        got.append((await anext_(stream)).text)
        with log.open("a") as file:
            file.write(" whole\n")
        log.rename(f"{log}.1")
        log.write_text(stamp(4) + "new file\n")
        got += [(await anext_(stream)).text, (await anext_(stream)).text]
        gone = True  # what it follows was removed
        assert [line async for line in stream] == []
        return got

    async def anext_(stream: object) -> LogLine:
        line = await asyncio.wait_for(stream.__anext__(), 5)  # type: ignore[attr-defined]
        assert isinstance(line, LogLine)
        return line

    assert asyncio.run(scenario()) == ["old", "more", "half whole", "new file"]


def test_a_log_is_read_on_after_each_of_its_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    Path(f"{log}.1").write_text(stamp(1) + "1\n\nof 1\n" + stamp(1) + "1\n")
    log.write_text(stamp(1) + "1\nof 1\n" + stamp(2) + "half")
    lines = logs.read(log)
    assert len({line.position for line in lines}) == len(lines) == 7
    for number, line in enumerate(lines):
        place = logs.Place.of(line.position)
        assert logs.read(log, after=place) == lines[number + 1 :]
        assert logs.read(log, tail=1, after=place) == lines[number + 1 :][-1:]
        assert logs.read(log, after=place, last=False) == lines[number + 1 : -1]
    place = logs.Place.of(lines[4].position)
    rotate(log)
    log.write_text(stamp(3) + "new\n")
    told = [line.text for line in logs.read(log, after=place)]
    assert told == ["of 1", "half", "new"]


def test_after_a_line_that_is_gone_comes_the_oldest_that_is_left(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(stamp(1) + "old\n" + stamp(2) + "older\n")
    inode, place = log.stat().st_ino, logs.Place.of(logs.read(log)[1].position)
    for text in (stamp(3) + "n\n", stamp(3) + "new, and longer than that\n", ""):
        log.write_text(text)  # in the same file, as if its number had been given to another
        assert log.stat().st_ino == inode
        assert logs.read(log, after=place) == logs.read(log)
    assert logs.read(tmp_path / "none.log", after=place) == []
    beyond = place._replace(offset=16**15 - 1)
    assert logs.read(log, after=beyond) == logs.read(log), "no disk has that place"


def test_a_follower_that_comes_again_gets_what_was_written_meanwhile_and_nothing_twice(
    tmp_path: Path,
) -> None:
    log = tmp_path / "a.log"
    written = [f"line {number}" for number in range(40)]

    async def story() -> list[str]:
        got: list[str] = []
        after: logs.Place | None = None
        for number, text in enumerate(written):
            with log.open("a") as file:
                file.write((stamp(number // 7) if number % 3 == 0 else "") + text + "\n")
            if number % 11 == 10:
                rotate(log)
            if number % 4 == 3:  # one follower after another
                following = logs.follow(log, None, None, lambda: True, after)
                async for line in following:
                    got.append(line.text)
                    after = logs.Place.of(line.position)
        return got

    assert asyncio.run(story()) == written


@pytest.mark.parametrize("text", ["", "1", "1-2-3", "1-2-3-4-5", "1--3-4", "g-1-1-1", "f" * 99])
def test_what_is_no_position_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="position of a line"):
        logs.Place.of(text)
