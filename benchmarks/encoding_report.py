"""The tables of `benchmarks/encoding.py`."""

import math
import statistics
from collections.abc import Callable
from typing import Any


def kind_of(machine: dict[str, Any]) -> str:
    """The kind of a machine, whose figures a run on another of its kind replaces."""
    units = " and ".join(machine["bfloat16"])
    said = [machine["processor"], f"{machine['threads']} threads"]
    said.append(f"bfloat16 by {units}" if units else "no units for bfloat16")
    return ", ".join([*said, machine["gpu"]] if machine.get("gpu") else said)


def markdown(report: dict[str, dict[str, Any]]) -> str:
    """Kind of machine → item → what was found, as tables: all kinds in brief, then each."""
    lines = ["# Speed", "", *_side_by_side(report)]
    lines += ["", "Medians, made by `python benchmarks/encoding.py --out docs`."]
    for kind in sorted(report):
        lines += ["", f"## {kind}"]
        for name, item in sorted(report[kind].items()):
            lines += ["", *_SECTIONS[name](item["found"]), "", _circumstances(item)]
    return "\n".join(lines) + "\n"


def _side_by_side(report: dict[str, dict[str, Any]]) -> list[str]:
    about = (
        "`extract` of every view over one view by `SentenceTransformer.encode` with its defaults, "
        "and the forward pass of a bert-base-sized encoder over its matrix products alone:"
    )
    head = "| machine | dtype | minilm, stsb | minilm, mixed | of the products |"
    lines = [about, "", head, "|---|---|---:|---:|---:|"]
    for kind in sorted(report):
        rates = {
            (row["encoder"], row["corpus"], row["what"]): row
            for row in report[kind].get("a", {"found": []})["found"]
        }
        shares = {row["dtype"]: row for row in report[kind].get("b", {"found": []})["found"]}
        for dtype in dict.fromkeys(["float32", *shares]):
            what = "extract float32" if dtype == "float32" else "extract auto"
            ratios = [_ratio(rates, corpus, what) for corpus in ("stsb", "mixed")]
            share = f"{shares[dtype]['share of linear']:.0%}" if dtype in shares else "not measured"
            lines.append(f"| {kind} | {dtype} | {' | '.join(ratios)} | {share} |")
    machines = [item["machine"] for items in report.values() for item in items.values()]
    there = {
        "a processor with units for bfloat16": any(one["bfloat16"] for one in machines),
        "a GPU": any(one.get("gpu") for one in machines),
    }
    absent = [name for name, is_there in there.items() if not is_there]
    return [*lines, *(["", f"Not measured yet: {' and '.join(absent)}."] if absent else [])]


def _ratio(rates: dict[tuple[str, str, str], dict], corpus: str, what: str) -> str:
    ours = rates.get(("minilm", corpus, what))
    theirs = rates.get(("minilm", corpus, "encode float32"))
    if ours is None or theirs is None:
        return "not measured"
    return f"{ours['sentences per second'] / theirs['sentences per second']:.2f}×"


def _circumstances(item: dict[str, Any]) -> str:
    about = item["machine"]
    before, after = item["load before and after"]
    return (
        f"*{about['processor']}, {about['cores']} cores, {about['threads']} threads, bfloat16 by "
        f"{', '.join(about['bfloat16']) or 'nothing'}; torch {about['torch']}, transformers "
        f"{about['transformers']}, sentence-transformers {about['sentence-transformers']}; load "
        f"average before {before:.1f}, after {after:.1f}.*"
    )


def _section_a(rows: list[dict]) -> list[str]:
    lines = [
        "### Sentences per second: `extract`, every view; `SentenceTransformer.encode`, one view",
        "",
        "| encoder | corpus | what | sentences/s | extract float32 is | extract auto is |",
        "|---|---|---|---:|---:|---:|",
    ]
    for row in rows:
        same = {
            other["what"]: other["sentences per second"]
            for other in rows
            if (other["encoder"], other["corpus"]) == (row["encoder"], row["corpus"])
        }
        rate = row["sentences per second"]
        what = row["what"].replace("auto", f"auto ({row['dtype of auto']})")
        lines.append(
            f"| {row['encoder']} | {row['corpus']}, {row['tokens per sentence']:.0f} tokens | "
            f"{what} | {rate:.0f} | {same['extract float32'] / rate:.2f}× | "
            f"{same['extract auto'] / rate:.2f}× |"
        )
    ran = {
        f"{row['encoder']} on {row['corpus']} in {dtype}: {setup}"
        for row in rows
        for dtype, setup in row.get("setups", {}).items()
    }
    return [*lines, *(["", f"How passes ran: {'; '.join(sorted(ran))}."] if ran else [])]


def _section_b(rows: list[dict]) -> list[str]:
    lines = [
        "### The forward pass over its matrix products alone (bert-base-sized)",
        "",
        "| dtype | forward GFLOP/s | linear | packed linear | share of linear | share of packed |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['dtype']} | {row['forward GFLOP/s']:.0f} | "
        f"{row['linear GFLOP/s']:.0f} | {row.get('packed linear GFLOP/s', math.nan):.0f} | "
        f"{row['share of linear']:.0%} | {row.get('share of packed linear', math.nan):.0%} |"
        for row in rows
    ]
    for row in rows:
        shares = ", ".join(f"`{name}` {share:.1%}" for name, share in row["profile"].items())
        lines += ["", f"{row['dtype']}, padding {row['padding']:.1%}: {shares}."]
    return lines


def _section_c(found: dict) -> list[str]:
    return [
        "### Every view on seven STS sets",
        "",
        (
            f"{found['pairs']} pairs, {found['views']} views: "
            f"{found['this project, seconds']:.1f} s; one pass per view, {found['views']} times "
            "the measured pass for one view, "
            f"{found['one pass per view, seconds']:.1f} s: {found['ratio']:.1f}×."
        ),
    ]


def _section_d(rows: list[dict]) -> list[str]:
    return [
        "### Growth: a corpus into a store (minilm)",
        "",
        f"Runs of each size: {', '.join(str(len(row['seconds'])) for row in rows)}.",
        "",
        "| sentences | seconds | peak memory, MB |",
        "|---:|---:|---:|",
        *(
            f"| {row['sentences']:,} | {row['median seconds']:.1f} | {row['peak memory, MB']:.0f} |"
            for row in rows
        ),
    ]


def _section_e(found: dict) -> list[str]:
    return [
        "### The second run, from the store",
        "",
        (
            f"first {statistics.median(found['first']):.1f} s, second "
            f"{statistics.median(found['second']):.2f} s: {found['ratio']:.0f}×."
        ),
    ]


def _section_f(rows: list[dict]) -> list[str]:
    return [
        "### What bfloat16 costs (minilm)",
        "",
        (
            "Largest absolute change of Spearman's correlation, on the scale to 1, against "
            "float32, over the aggregations of a task; undefined: "
            f"{', '.join(sorted({view for row in rows for view in row['undefined']})) or 'none'}."
        ),
        "",
        "| task | pairs | views | most | next | next | median view |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {row['task']} | {row['pairs']:,} | {len(row['largest'])} | "
            + " | ".join(f"{one['change']:.4f} {one['view']}" for one in row["largest"][:3])
            + f" | {statistics.median(one['change'] for one in row['largest']):.4f} |"
            for row in rows
        ),
    ]


_SECTIONS: dict[str, Callable[[Any], list[str]]] = {
    "a": _section_a,
    "b": _section_b,
    "c": _section_c,
    "d": _section_d,
    "e": _section_e,
    "f": _section_f,
}
