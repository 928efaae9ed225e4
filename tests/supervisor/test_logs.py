from __future__ import annotations

import asyncio
from pathlib import Path

from modeldeploy.schema.control import LogLine
from modeldeploy.supervisor import logs


def stamp(second: int) -> str:
    return f"2026-11-24T02:00:{second:02d}.500000Z "


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
