"""The tables of `benchmarks/encoding.py`."""

import statistics
from collections.abc import Callable
from typing import Any


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    lines = ["# Encoding", "", "Made by `python benchmarks/encoding.py`; medians."]
    for name in sorted(report):
        lines += ["", *_SECTIONS[name](report[name]["found"]), "", _circumstances(report[name])]
    return "\n".join(lines) + "\n"


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
        "## Sentences per second: `extract`, every view; `SentenceTransformer.encode`, one view",
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
    return lines


def _section_b(rows: list[dict]) -> list[str]:
    lines = [
        "## The forward pass over its matrix products alone (bert-base-sized)",
        "",
        "| dtype | forward GFLOP/s | linear | packed linear | share of linear | share of packed |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['dtype']} | {row['forward GFLOP/s']:.0f} | "
        f"{row['torch.nn.functional.linear GFLOP/s']:.0f} | {row['packed linear GFLOP/s']:.0f} | "
        f"{row['share of linear']:.0%} | {row['share of packed linear']:.0%} |"
        for row in rows
    ]
    for row in rows:
        shares = ", ".join(f"`{name}` {share:.1%}" for name, share in row["profile"].items())
        lines += ["", f"{row['dtype']}, padding {row['padding']:.1%}: {shares}."]
    return lines


def _section_c(found: dict) -> list[str]:
    return [
        "## Every view on seven STS sets",
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
        "## Growth: a corpus into a store (minilm)",
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
        "## The second run, from the store",
        "",
        (
            f"first {statistics.median(found['first']):.1f} s, second "
            f"{statistics.median(found['second']):.2f} s: {found['ratio']:.0f}×."
        ),
    ]


def _section_f(rows: list[dict]) -> list[str]:
    return [
        "## What bfloat16 costs (minilm)",
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
