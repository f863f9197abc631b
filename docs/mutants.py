"""Write the table of docs/mutants.md from what `make mutants` left in the folder mutants/.

    python docs/mutants.py sample
    python docs/mutants.py

The first form prints the names of a random sample of all mutants, for ``make mutants MUTANTS=…``:
the share of killed ones among them is an estimate for all, hours sooner.
"""

import argparse
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any, Final

from scipy.stats import binomtest

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


SAMPLE: Final = 300
"""Mutants in the sample."""
_SEED: Final = 2
"""Of the sample. Another once tests have been written for the survivors: the old one flatters."""


def fates(folder: Path) -> dict[str, dict[str, str]]:
    """Module → mutant → what became of it; modules without a mutant are left out."""
    found = {}
    for path in sorted(folder.glob("probing/**/*.py.meta")):
        codes: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            module = path.relative_to(folder / "probing").as_posix().removesuffix(".py.meta")
            found[module] = {name: _FATES.get(code, OTHER) for name, code in codes.items()}
    return found


def sample(found: dict[str, dict[str, str]]) -> list[str]:
    """Names of `SAMPLE` mutants of all modules, each as likely as any other."""
    names = sorted(name for mutants in found.values() for name in mutants)
    return sorted(random.Random(_SEED).sample(names, min(SAMPLE, len(names))))  # noqa: S311


def share(found: dict[str, dict[str, str]]) -> str:
    """How many of the sample were killed, with a 95 % interval (Wilson) once all of it was run.

    Quick mutants are run first, so that a part of the sample is not a random one.
    """
    fate = {name: fate for mutants in found.values() for name, fate in mutants.items()}
    drawn = [fate[name] for name in sample(found)]
    run = [one for one in drawn if one != NOT_RUN]
    if not run:
        return ""
    killed = run.count(KILLED)
    if len(run) < len(drawn):
        return (
            f"Of a random sample of {len(drawn)} mutants {len(run)} were run so far, the quick "
            f"ones first, and {killed} of them are killed.\n"
        )
    low, high = binomtest(killed, len(run)).proportion_ci(method="wilson")
    return (
        f"Of a random sample of {len(drawn)} mutants {killed} are killed: {killed / len(run):.1%} "
        f"[{low:.1%}, {high:.1%}]. One that no test reaches counts as not killed.\n"
    )


def table(found: dict[str, dict[str, str]]) -> str:
    """A Markdown table; the share is of the mutants that were run and that a test reaches."""
    shown = (KILLED, SURVIVED, OTHER, NOT_REACHED, NOT_RUN)
    lines = [
        f"| module | mutants | {' | '.join(shown)} | killed of those run |",
        f"|---|{'---:|' * (len(shown) + 2)}",
    ]
    counts = {module: Counter(mutants.values()) for module, mutants in found.items()}
    for module, fate in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        run = fate[KILLED] + fate[SURVIVED] + fate[OTHER]
        killed = f"{fate[KILLED] / run:.1%}" if run else "–"
        cells = [f"{fate.total():,}", *(f"{fate[name]:,}" for name in shown), killed]
        lines.append(f"| {module} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the sample, or replace the block of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("sample", "page"), default="page")
    parser.add_argument("--folder", type=Path, default=Path("mutants"))
    chosen = parser.parse_args()
    found = fates(chosen.folder)
    if chosen.what == "sample":
        print(" ".join(sample(found)))
        return
    page = PAGE.read_text(encoding="utf-8")
    block = f"{share(found)}\n{table(found)}"
    PAGE.write_text(_BLOCK.sub(lambda _: block, page), encoding="utf-8")


if __name__ == "__main__":
    main()
