"""Write the table of docs/mutants.md from what `make mutants` left in the folder mutants/."""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).with_name("mutants.md")
_BLOCK: Final = re.compile(
    r"(?<=<!-- docs/mutants.py: begin -->\n).*?(?=<!-- docs/mutants.py: end -->)", re.DOTALL
)
KILLED, SURVIVED, NOT_REACHED, NOT_RUN, OTHER = (
    "killed",
    "survived",
    "not reached",
    "not run",
    "timed out or crashed",
)
_FATES: Final[dict[int | None, str]] = {
    None: NOT_RUN,
    0: SURVIVED,
    1: KILLED,
    3: KILLED,  # pytest itself failed
    5: NOT_REACHED,
    33: NOT_REACHED,
}
"""What mutmut's exit codes of a mutant mean."""


def count(folder: Path) -> dict[str, Counter[str]]:
    """Module → how many of its mutants met each fate; modules without a mutant are left out."""
    found = {}
    for path in sorted(folder.glob("probing/**/*.py.meta")):
        codes: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            module = path.relative_to(folder / "probing").as_posix().removesuffix(".py.meta")
            found[module] = Counter(_FATES.get(code, OTHER) for code in codes.values())
    return found


def table(found: dict[str, Counter[str]]) -> str:
    """A Markdown table; the share is of the mutants that were run and that a test reaches."""
    fates = (KILLED, SURVIVED, OTHER, NOT_REACHED, NOT_RUN)
    lines = [
        f"| module | mutants | {' | '.join(fates)} | killed of those run |",
        f"|---|{'---:|' * (len(fates) + 2)}",
    ]
    for module, fate in [*found.items(), ("all", sum(found.values(), Counter()))]:
        run = fate[KILLED] + fate[SURVIVED] + fate[OTHER]
        share = f"{fate[KILLED] / run:.1%}" if run else "–"
        cells = [f"{fate.total():,}", *(f"{fate[name]:,}" for name in fates), share]
        lines.append(f"| {module} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the block of the page."""
    found = count(Path(sys.argv[1] if len(sys.argv) > 1 else "mutants"))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_BLOCK.sub(lambda _: table(found), page), encoding="utf-8")


if __name__ == "__main__":
    main()
