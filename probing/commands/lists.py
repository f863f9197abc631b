"""``probing tasks`` and ``probing models``: what can be asked for by name."""

from rich.console import Console
from rich.markup import escape


def tasks_command() -> None:
    """List the tasks; a file with recognised columns works as well."""
    from probing.tasks import catalogue

    console = Console(highlight=False, soft_wrap=True)
    for entry in catalogue():
        kind = entry.kind or "unknown until loaded"
        facts = [str(kind), entry.size, entry.target]
        console.print(f"[bold]{escape(entry.name)}[/]  {escape(entry.title)}")
        console.print(f"    {', '.join(fact for fact in facts if fact)}")
        console.print(f"    {escape(entry.where)}")
        if entry.citation:
            console.print(f"    {escape(entry.citation)}; licence: {escape(entry.licence)}")
        if entry.note:
            console.print(f"    {escape(entry.note)}")


def models_command() -> None:
    """List the encoders that have an alias; any Hub id or folder works as well."""
    from probing.sources.declarations import MODELS

    console = Console(highlight=False, soft_wrap=True)
    for source in MODELS:
        console.print(f"[bold]{source.alias}[/]  {source.note}")
        where = source.shipped or f"{source.hub_id} at {source.revision}"
        console.print(f"    {where}, {source.licence}")
