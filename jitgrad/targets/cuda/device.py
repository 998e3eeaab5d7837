"""The functions that a group of threads runs together: reductions, scans, and turning rows to lanes, as text.

They follow, to the bit, the order of `jitgrad.ops.reductions`, whatever the number of threads. All threads
call them with the same arguments and get the same result. In them, besides what `threaded` uses, `warp()` and
`warps()` count the warps of a group, `shuffle` reads another thread's value, and `sum_identity` and its like
are the number with which a reduction of an array's elements begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from inspect import signature

from jitgrad.ops.reductions import BLOCK, COLUMN_BLOCK, LANES
from jitgrad.ops.scans import STEPS
from jitgrad.targets.source import COMBINE

WARP = 32
REDUCTIONS = {
    "block": f"""
def {{op}}_block(values, count):
    lane = thread() % {WARP}
    low = {{op}}_identity(values)
    high = {{op}}_identity(values)
    for i in range(lane, count, {LANES}):
        low = {{low}}
    for i in range(lane + {WARP}, count, {LANES}):
        high = {{high}}
    total = {{halves}}
    for step in range(5):
        other = shuffle(total, (lane + ({WARP // 2} >> step)) % {WARP})
        total = {{folded}}
    return shuffle(total, 0)
""",
    "of": f"""
def {{op}}_of(values, count, work):
    total = {{op}}_block(values, minimum(count, {BLOCK}))
    if count > {BLOCK}:
        {{op}}_blocks(values, count, work)
        left = (count + {BLOCK - 1}) // {BLOCK}
        for level in range(2):
            if left > {BLOCK}:
                {{op}}_blocks(work, left, work)
                left = (left + {BLOCK - 1}) // {BLOCK}
        total = {{op}}_block(work, left)
        sync()
    return total
""",
    "blocks": f"""
def {{op}}_blocks(values, count, work):
    blocks = (count + {BLOCK - 1}) // {BLOCK}
    sync()
    for first in range(0, blocks, warps()):
        block = first + warp()
        start = minimum(block * {BLOCK}, count)
        total = {{op}}_block(offset(values, start), minimum(count - start, {BLOCK}))
        sync()
        if (thread() % {WARP} == 0) & (block < blocks):
            work[block] = total
        sync()
""",
    "down": """
def {op}_down(parts, rows, n, out):
    for i in each(n):
        total = parts[i]
        for row in range(1, rows):
            total = {row}
        out[i] = total
""",
    "named": """
def {op}_named(rows, places, count, every, n, start, out):
    for i in each(n):
        total = start
        for k in range(count):
            total = {named}
        out[i] = total
""",
    "lanes": f"""
def {{op}}_lanes(values, n, work, out):
    lane = thread()
    for i in range(n):
        work[i * {WARP} + lane] = values[i * {WARP} + lane]
    for level in range({LANES.bit_length() - 1}):
        width = {LANES // 2} >> level
        for i in range(width, minimum(n, width * 2)):
            place = (i - width) * {WARP} + lane
            work[place] = {{lane}}
    out[lane] = work[lane]
    sync()
""",
    "rows": f"""
def {{op}}_rows(values, n, lanes, out):
    for i in each(n):
        total = values[i * {WARP}]
        for lane in range(1, lanes):
            total = {{across}}
        out[i] = total
    sync()
""",
}
_COMBINED = {
    "low": ("low", "values[i]"),
    "high": ("high", "values[i]"),
    "halves": ("low", "high"),
    "folded": ("total", "other"),
    "row": ("total", "parts[row * n + i]"),
    "named": ("total", "rows[places[k] // every * n + i]"),
    "lane": ("work[place]", f"work[i * {WARP} + lane]"),
    "across": ("total", f"values[i * {WARP} + lane]"),
}

SCANS = {
    "scan": """
def {op}_{form}({operands}, out, count, begun, last):
    if thread() == 0:
        i = {first}
        total = {start}
        if begun != 0:
            total = {op}_step(last[0], {elements})
        out[i] = total
        for turn in range(1, count):
            i = {place}
            total = {op}_step(total, {elements})
            out[i] = total
        last[0] = total
    sync()
""",
    "lanesscan": f"""
def {{op}}_{{form}}({{operands}}, out, count):
    turn = 0
    i = {{first}} * {WARP} + thread()
    total = {{start}}
    out[i] = total
    for turn in range(1, count):
        i = ({{place}}) * {WARP} + thread()
        total = {{op}}_step(total, {{elements}})
        out[i] = total
    sync()
""",
}

# A row's number by a product: exact while places * 32 stay below the whole.
WHOLE = 1 << 22
TURN_IN = f"""
def {{name}}(rows, starts, n, out):
    inverse = {WHOLE} // n + 1
    for place in each(n * {COLUMN_BLOCK}):
        row = place * inverse // {WHOLE}
        i = place - row * n
        out[i * {COLUMN_BLOCK} + row] = rows[starts[row] + i]
    sync()
"""
TURNS = {
    "turn_in": TURN_IN.format(name="turn_in"),
    "gather_in": TURN_IN.format(name="gather_in"),
    "turn_out": f"""
def turn_out(values, n, lanes, out):
    inverse = {WHOLE} // n + 1
    for place in each(n * lanes):
        row = place * inverse // {WHOLE}
        out[place] = values[(place - row * n) * {COLUMN_BLOCK} + row]
    sync()
""",
}


def _reduction(op: str, form: str) -> str:
    combined = {name: _combine(op, *operands) for name, operands in _COMBINED.items()}
    return REDUCTIONS[form].format(op=op, **combined)


def _combine(op: str, left: str, right: str) -> str:
    return COMBINE[op].format(left, right)


def _scan(op: str, form: str) -> str:
    count = len(signature(STEPS[op]).parameters) - 1
    operands = [f"x{place}" for place in range(count)]
    backwards = form.endswith("back")
    return SCANS["lanesscan" if form.startswith("lanes") else "scan"].format(
        op=op,
        form=form,
        operands=", ".join(operands),
        elements=", ".join(f"{x}[i]" for x in operands),
        start=f"{operands[-1]}[i]",
        first="(count - 1)" if backwards else "0",
        place="count - 1 - turn" if backwards else "turn",
    )


FUNCTIONS = {f"{op}_{form}": _reduction(op, form) for op in COMBINE for form in REDUCTIONS}
FUNCTIONS |= {f"{op}_{form}": _scan(op, form) for op in STEPS for form in ("scan", "back")}
FUNCTIONS |= {f"{op}_{form}": _scan(op, form) for op in STEPS for form in ("lanesscan", "lanesback")}
FUNCTIONS |= TURNS


SPREADING = {
    f"{op}_{form}" for op in COMBINE for form in ("down", "named")
}  # those in which no thread waits for another


def is_cooperative(name: str) -> bool:
    """Return whether a function is one of a whole group of threads."""
    return name in FUNCTIONS


def functions(text: str) -> str:
    """Return the text of the functions that a kernel's text calls, and of those that they call."""
    found: dict[str, str] = {}
    left = _called(text)
    while left:
        name = left.pop()
        if name not in found:
            found[name] = FUNCTIONS[name].strip() + "\n"
            left += _called(found[name])
    return "\n\n".join(found[name] for name in reversed(found))


def _called(text: str) -> list[str]:
    names: Iterable[str] = re.findall(r"\b([a-z]+_[a-z]+)\(", text)
    return [name for name in dict.fromkeys(names) if name in FUNCTIONS]
