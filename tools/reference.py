"""The reference pages that are made from the code: ``docs/cli.md`` and ``docs/settings.md``.

``python -m tools.reference`` writes them (``make format`` does); ``tests/test_reference.py``
fails when they are not what the code says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from modeldeploy.cli.main import cli
from modeldeploy.settings import TABLE

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


PAGES = {"settings.md": settings_page, "cli.md": cli_page}


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
