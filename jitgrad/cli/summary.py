"""Condense the benchmark's medians into how often, and by how much, the fused engine is ahead."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from jitgrad.cli.peers import ENGINES
from jitgrad.cli.terminal import seconds
from jitgrad.cli.workloads import Case

OURS = "fused"
BEHIND = 0.9  # a peer's time over ours, below which a case is listed

Medians = Mapping[Case, Mapping[str, float]]


def speedups(medians: Medians) -> dict[tuple[str, str], dict[str, float]]:
    """Return the geometric means of every engine's time over ours, for each size and dtype."""
    ratios: dict[tuple[str, str], dict[str, list[float]]] = {}
    for case, times in medians.items():
        group = ratios.setdefault((case.size, case.dtype), {})
        for name in times.keys() - {OURS} if OURS in times else ():
            group.setdefault(name, []).append(times[name] / times[OURS])
    return {
        kind: {name: statistics.geometric_mean(group[name]) for name in ENGINES if name in group}
        for kind, group in ratios.items()
        if group
    }


def behind(medians: Medians) -> Iterator[tuple[Case, str, float]]:
    """List the cases where a peer needs less than BEHIND of our time, with the best peer and its share."""
    for case, times in medians.items():
        peers = [name for name in times if ENGINES[name].peer]
        if OURS not in times or not peers:
            continue
        best = min(peers, key=times.__getitem__)
        if times[best] < BEHIND * times[OURS]:
            yield case, best, times[best] / times[OURS]


def summary(medians: Medians) -> Iterator[str]:
    """Write the speedups, and a line for each case where we are behind."""
    for (size, dtype), means in speedups(medians).items():
        yield f"{OURS}, {size} {dtype}, is faster by (geometric mean): " + ", ".join(
            f"{name} {ratio:.2f}" for name, ratio in means.items()
        )
    for case, best, share in behind(medians):
        times = f"{seconds(medians[case][OURS])}, {best} {seconds(medians[case][best])}"
        yield f"[yellow]behind: {case.title}: {times} ({share:.2f})"


def summary_data(medians: Medians) -> dict[str, Any]:
    """Turn the summary into what JSON can hold."""
    return {
        "speedups": [
            {"size": size, "dtype": dtype, "geometric_means": means}
            for (size, dtype), means in speedups(medians).items()
        ],
        "behind": [
            {
                "workload": case.workload.name,
                "size": case.size,
                "dtype": case.dtype,
                "peer": best,
                "share": share,
            }
            for case, best, share in behind(medians)
        ],
    }
