"""What a command has to ask its user."""

import sys

import typer


def asked_for(what: str, purpose: str, otherwise: str, *, hidden: bool = False) -> str:
    """What the user answers at the terminal. Where there is none, the complaint names another way to say it."""
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"who {purpose}? Give {otherwise}")
    return str(typer.prompt(what, hide_input=hidden, err=True))
