"""Flags made of the table of settings, and errors made fit for a terminal.

Owns the way from a command line to `Settings` and from an error to one line and an exit code. Must not
know what any command does. Invariant: a flag exists because the setting does; its help names the
variable and the default.
"""

import functools
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from tusplyr.core.errors import TusplyrError
from tusplyr.settings import TABLE, BadSettings, Rule, Setting, Settings, load

Command = Callable[..., None]
Decorator = Callable[[Command], Command]


class WrongSettings(click.ClickException):
    """Settings that cannot be used; exits with 2, as a wrong command line does."""

    exit_code = 2


class Commands(click.Group):
    """A group of commands whose expected errors end as one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends quietly when the reader of a pipe has gone
        except OSError as error:
            _fail(error, f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except (TusplyrError, sqlite3.Error) as error:
            _fail(error, str(error))


def _fail(error: Exception, text: str) -> NoReturn:
    raise click.ClickException(" ".join(text.split()) or type(error).__name__) from error


def with_settings(*names: str, rules: Collection[Rule] = ()) -> Decorator:
    """Give a command the flags of these settings, and the loaded settings as its first argument."""
    chosen = [setting for setting in TABLE if setting.name in names]

    def decorate(command: Command) -> Command:
        def run(**given: Any) -> None:
            flags = {name: given.pop(name) for name in ("config", *(setting.name for setting in chosen))}
            command(_load(flags, rules), **given)

        decorated: Command = functools.update_wrapper(run, command)
        for option in reversed([*map(_option, chosen), _config()]):
            decorated = option(decorated)
        return decorated

    return decorate


@contextmanager
def told(error: type[Exception]) -> Iterator[None]:
    """Turn one more kind of error, whose text is a line for the operator, into that line and exit code 1."""
    try:
        yield
    except error as caught:
        _fail(caught, str(caught))


def need_ledger(settings: Settings) -> None:
    """Fail unless a server has been here; a command that reads must not create what it reads."""
    if not settings.database.is_file():
        raise click.ClickException(
            f"There is no {settings.database}: name the server's data directory with --data-dir or TUSPLYR_DATA_DIR."
        )


def _load(flags: dict[str, object], rules: Collection[Rule]) -> Settings:
    try:
        return load(flags, os.environ, Path.cwd(), rules=rules)
    except BadSettings as error:
        raise WrongSettings("\n  ".join(["The settings cannot be used:", *error.problems])) from error


def _option(setting: Setting) -> Decorator:
    flag = f"{setting.flag}/--no-{setting.flag[2:]}" if setting.kind.metavar == "" else setting.flag
    default = f", default {setting.shown_default}" if setting.shown_default else ""
    text = f"{setting.doc} [{setting.variable}{default}]"
    return click.option(flag, setting.name, default=None, metavar=setting.kind.metavar or None, help=text)


def _config() -> Decorator:
    text = "Settings in TOML, by their names in small letters. [TUSPLYR_CONFIG, default tusplyr.toml if it is there]"
    return click.option("--config", metavar="FILE", help=text)
