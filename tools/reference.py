"""The reference pages that are made from the code: commands, settings, tasks, promises.

``python -m tools.reference`` writes them (``make format`` does); ``tests/test_reference.py``
fails when they are not what the code says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from modeldeploy.cli.main import cli
from modeldeploy.schema.tasks import TASKS, TaskSchema
from modeldeploy.settings import TABLE
from modeldeploy.worker.dialects import kinds
from modeldeploy.worker.http.operations import About
from tools import promises

DOCS = Path(__file__).parents[1] / "docs"
_MADE = "<!-- made by tools/reference.py: change the code, then run make format -->"


def settings_page() -> str:
    """Every setting, as a table."""
    lines = [
        "# Settings",
        "",
        _MADE,
        "",
        "A value comes from the first of: the command's flag, the environment, `.env` in the current",
        "directory, `config.toml` in the config directory, the default. `MODELDEPLOY_HOME` itself is",
        "not read from `config.toml`, which it locates.",
        "",
        "Those with a flag, and `FORCE_GPU` and `MAX_DOWNLOAD_TIMEOUT`, are read by each command for",
        "its own deployment. The others are the supervisor's: it reads them when it starts, and",
        "`modeldeploy daemon restart` has it read them anew while deployments go on answering.",
        "",
        "| environment | `config.toml` | flag | default | what it is |",
        "|---|---|---|---|---|",
    ]
    for row in TABLE:
        flag = f"`{row.flag}`" if row.flag else ""
        key = f"`{row.key}`" if row.key != "home" else ""
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.env}` | {key} | {flag} | {default} | {row.help} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Every command's own help, in the order of ``modeldeploy --help``."""
    parts = ["# Commands", "", _MADE]
    for context in _contexts("modeldeploy", cli, None):
        parts += ["", f"## {context.command_path}", "", "```", context.get_help(), "```"]
    return "\n".join(parts) + "\n"


def _contexts(
    name: str, command: click.Command, parent: click.Context | None
) -> Iterator[click.Context]:
    settings = {"terminal_width": 88, "max_content_width": 88, **command.context_settings}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            found = command.get_command(context, verb)
            if found is not None:
                yield from _contexts(verb, found, context)


_LONG = 60  # characters of a string that is shown whole


def tasks_page() -> str:
    """Every task: what loads it, who can ask for it, an example in and out."""
    spoken = {task.name: _posts(task) for task in TASKS.values()}
    lines = [
        "# Tasks",
        "",
        _MADE,
        "",
        "One deployment does one task and answers in every dialect of its row. `GET /openapi.json` and",
        "`GET /docs` of a deployment have all parameters, with bounds and defaults.",
        "",
        "| task | also called | type | loaded by | dialects |",
        "|---|---|---|---|---|",
    ]
    for task in TASKS.values():
        aliases = ", ".join(f"`{alias}`" for alias in task.aliases)
        loads = f"`{task.auto_class}`" if task.auto_class else ""
        dialects = ", ".join(name for name, paths in spoken[task.name].items() if paths)
        link = f"[{task.name}](#{task.name})"
        lines.append(f"| {link} | {aliases} | {task.model_type} | {loads} | {dialects} |")
    lines += ["", "## Dialects", "", "| dialect | asked at |", "|---|---|"]
    for name in kinds():
        paths = dict.fromkeys(path for posts in spoken.values() for path in posts[name])
        lines.append(f"| {name} | {', '.join(f'`POST {path}`' for path in paths)} |")
    for task in TASKS.values():
        lines += ["", f"## {task.name}", "", "`POST /predict`", *_json(task.example)]
        lines += ["", "answers with the `result`", *_json(task.result)]
    return "\n".join(lines) + "\n"


def _posts(task: TaskSchema) -> dict[str, list[str]]:
    """The paths of predictions, by dialect."""
    about = About(task=task, deployment="NAME", model_id="org/name")
    return {
        name: [one.path for one in kind.operations(about) if one.method == "post"]
        for name, kind in kinds().items()
    }


def _json(value: Any) -> list[str]:
    text = json.dumps(_shortened(value), indent=2, ensure_ascii=False)
    return ["", "```json", text, "```"]


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shortened(one) for one in value]
    is_file = isinstance(value, str) and len(value) > _LONG and " " not in value
    return f"{value[:_LONG]}..." if is_file else value


PAGES = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "tasks.md": tasks_page,
    "reliability.md": promises.page,
}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
