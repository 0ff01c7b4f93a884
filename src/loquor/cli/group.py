"""A verb that works by itself and has verbs below it: `loquor eval MODEL` beside `loquor eval compare A B`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


def with_default(name: str) -> type[TyperGroup]:
    """A group that takes anything but its commands' names as arguments of the command `name`, a `DefaultCommand`."""

    class WithDefault(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            is_named = bool(args) and args[0] in self.commands
            return super().parse_args(ctx, args if is_named else [name, *args])

    return WithDefault


class DefaultCommand(TyperCommand):
    """Goes by the name of its group."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return super().make_context(parent.info_name, args, parent=parent.parent, **extra)
