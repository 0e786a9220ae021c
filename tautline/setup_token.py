"""What is printed when a server starts that knows nobody: how to make its first owner.

It goes to the terminal and not through the log, whose lines are kept in files and sent elsewhere.
"""

import structlog
import typer

from admin.services.people.setup import OFFERED_FOR, Setup

_logger = structlog.stdlib.get_logger("tautline.setup")


async def offer(setup: Setup, base: str) -> None:
    """Print it, if nobody can sign in yet. base: where this server is reached."""
    try:
        token = await setup.offer()
        if token is not None:
            say(message(base, token))
    except Exception as error:  # a database that only reads, a terminal that is gone: no call has a part in it
        why = type(error).__name__
        _logger.warning("setup.not_offered", consequence="The next start offers it again.", why=why)


def say(text: str) -> None:
    """On the terminal, if there is one."""
    typer.echo(text, err=True)


def message(base: str, token: str) -> str:
    """The words."""
    hours = round(OFFERED_FOR.total_seconds() / 3600)
    return f"""
  Nobody can sign in to this server yet. Make its first owner with one of these, on this machine:

    tautline user add you@example.com --role owner

  or from anywhere, once, within {hours} hours:

    curl {base}/api/setup -H 'Content-Type: application/json' \\
      -d '{{"token": "{token}", "email": "you@example.com", "password": "..."}}'
"""
