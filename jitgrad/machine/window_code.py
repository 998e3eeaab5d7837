"""The machine code of windows over images, as LLVM IR.

Three functions follow the launcher's convention, ``void f(i64 *args, i64 low, i64 high, i8 *scratch)``:

- ``columns`` copies the elements of windows; a unit is one place in a kernel, of one channel.
- ``sums`` adds columns to where their windows lay; a unit is one channel of one image, whose terms are
  added in the order of the places in the kernel.
- ``peaks`` finds the largest element of each window; a unit is one channel of one image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from jitgrad.machine.loops import POINTER, WORD, Function, word
from jitgrad.machine.window_arguments import COLUMN_WORDS, NAMES, PEAK_WORDS

_BYTE, _FLAG = ir.IntType(8), ir.IntType(1)


def text(kind: str) -> str:
    """LLVM IR of the functions for elements of a kind: f32, f64 or i64."""
    made = _Code(kind)
    made.columns()
    made.sums()
    made.peaks()
    return str(made.module)


class _Code:
    """The module, function by function."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.scalar = {"f32": ir.FloatType(), "f64": ir.DoubleType(), "i64": WORD}[kind]
        self.size = 4 if kind == "f32" else 8
        self.module = ir.Module()
        self.fill = self._declared("llvm.memset.p0.i64", [POINTER, _BYTE, WORD, _FLAG])
        self.copy = self._declared("llvm.memcpy.p0.p0.i64", [POINTER, POINTER, WORD, _FLAG])
        self.added = self._added()

    def _declared(self, name: str, args: list[ir.Type]) -> ir.Function:
        return ir.Function(self.module, ir.FunctionType(ir.VoidType(), args), name)

    # Memory -----------------------------------------------------------------------------------------------

    def at(self, f: Function, base: Any, *products: Any) -> Any:
        """The address of the element at base + a * b + c * d + ..."""
        return f.build.gep(base, [f.sum(0, *products)], source_etype=self.scalar)

    def load(self, f: Function, address: Any) -> Any:
        return f.build.load(address, typ=self.scalar, align=self.size)

    def bytes_of(self, f: Function, count: Any) -> Any:
        return f.build.mul(count, word(self.size))

    def zero(self, f: Function, address: Any, count: Any) -> None:
        f.build.call(self.fill, [address, ir.Constant(_BYTE, 0), self.bytes_of(f, count), _FLAG(0)])

    @contextmanager
    def units(self, name: str, pointers: int, words: tuple[str, ...]) -> Iterator[tuple[Function, Any, Any]]:
        """A function over units: yields it, its arguments by name and the unit."""
        f = Function(self.module, f"{name}_{self.kind}", "pwwp", exported=True)
        block, low, high, _ = f.args
        given = {}
        for i, argument in enumerate(words):
            place = f.build.gep(block, [word(i)], source_etype=WORD)
            given[argument] = f.build.load(place, typ=POINTER if i < pointers else WORD)
        with f.loop(high, start=low) as unit:
            yield f, given, unit
        f.finish()

    # Windows ----------------------------------------------------------------------------------------------

    def span(self, f: Function, given: Any, axis: str, place: Any) -> tuple[Any, Any, Any]:
        """Which windows have an element of the image at a place of their kernel, and where it lies.

        That is the first of them, the one behind the last, and the element's place for window 0.
        """
        build, step = f.build, given[f"step_{axis}"]
        shift = build.sub(build.mul(place, given[f"dilation_{axis}"]), given[f"before_{axis}"])

        def windows(distance: Any) -> Any:
            """How many windows begin within a distance."""
            positive = build.select(build.icmp_signed(">", distance, word(0)), distance, word(0))
            count = build.sdiv(build.add(positive, build.sub(step, word(1))), step)
            return f.least(count, given[f"out_{axis}"])

        first, last = windows(build.neg(shift)), windows(build.sub(given[axis], shift))
        return first, build.select(build.icmp_signed(">", last, first), last, first), shift

    def columns(self) -> None:
        with self.units(NAMES[0], 2, COLUMN_WORDS) as (f, given, unit):
            build = f.build
            rest, place_w = (divide(unit, given["kernel_w"]) for divide in (build.sdiv, build.srem))
            channel, place_h = (divide(rest, given["kernel_h"]) for divide in (build.sdiv, build.srem))
            top, bottom, shift_h = self.span(f, given, "h", place_h)
            left, right, shift_w = self.span(f, given, "w", place_w)
            out_h, out_w = given["out_h"], given["out_w"]
            area = build.mul(out_h, out_w)
            step = build.mul(given["step_w"], given["x_w"])
            joined = build.select(build.icmp_signed("==", step, word(1)), right, left)
            source = self.at(f, given["x"], channel, given["x_channel"], shift_h, given["x_h"])
            source = self.at(f, source, shift_w, given["x_w"])
            with f.loop(given["images"]) as image:
                target = self.at(f, given["to"], f.sum(image, unit, given["images"]), area)
                here = self.at(f, source, image, given["x_image"])
                self.zero(f, target, build.mul(top, out_w))
                rows_below = build.sub(out_h, bottom)
                self.zero(f, self.at(f, target, bottom, out_w), build.mul(rows_below, out_w))
                with f.loop(bottom, start=top) as i:
                    row = self.at(f, target, i, out_w)
                    self.zero(f, row, left)
                    self.zero(f, self.at(f, row, right, 1), build.sub(out_w, right))
                    line = self.at(f, here, build.mul(i, given["step_h"]), given["x_h"])
                    run = self.bytes_of(f, build.sub(joined, left))
                    build.call(
                        self.copy, [self.at(f, row, left, 1), self.at(f, line, left, step), run, _FLAG(0)]
                    )
                    with f.loop(right, start=joined) as j:
                        value = self.load(f, self.at(f, line, j, step))
                        build.store(value, self.at(f, row, j, 1), align=self.size)

    def _added(self) -> ir.Function:
        """Add `count` elements to those that lie `step` apart."""
        f = Function(self.module, "added", "ppww")
        f.function.attributes.discard("noinline")
        for pointer in f.args[:2]:
            pointer.add_attribute("noalias")
        target, source, step, count = f.args
        add = f.build.add if self.kind == "i64" else f.build.fadd
        with f.loop(count) as j:
            place = self.at(f, target, j, step)
            value = add(self.load(f, place), self.load(f, self.at(f, source, j, 1)))
            f.build.store(value, place, align=self.size)
        return f.finish()

    def sums(self) -> None:
        with self.units(NAMES[1], 2, COLUMN_WORDS) as (f, given, unit):
            build, single = f.build, word(1)
            channels = given["channels"]
            image, channel = (divide(unit, channels) for divide in (build.sdiv, build.srem))
            plane = self.at(f, given["to"], unit, build.mul(given["h"], given["w"]))
            self.zero(f, plane, build.mul(given["h"], given["w"]))
            unit_step = build.icmp_signed("==", given["step_w"], single)
            with f.loop(given["kernel_h"]) as place_h, f.loop(given["kernel_w"]) as place_w:
                top, bottom, shift_h = self.span(f, given, "h", place_h)
                left, right, shift_w = self.span(f, given, "w", place_w)
                line = f.sum(place_h, channel, given["kernel_h"])
                line = f.sum(place_w, line, given["kernel_w"])
                line = build.mul(f.sum(image, line, given["images"]), given["out_h"])
                first = f.sum(shift_w, left, given["step_w"])
                count = build.sub(right, left)
                with f.loop(bottom, start=top) as i:
                    row = f.sum(shift_h, i, given["step_h"])
                    target = self.at(f, plane, row, given["w"], first, 1)
                    source = self.at(f, given["x"], build.add(line, i), given["out_w"], left, 1)
                    with build.if_else(unit_step) as (together, apart):
                        with together:
                            build.call(self.added, [target, source, single, count])
                        with apart:
                            build.call(self.added, [target, source, given["step_w"], count])

    # The largest ------------------------------------------------------------------------------------------

    def larger(self, f: Function, value: Any, best: Any) -> Any:
        """Whether a value takes the place of the best one; NaN always does."""
        if self.kind == "i64":
            return f.build.icmp_signed(">", value, best)
        nan = f.build.fcmp_unordered("uno", value, value)
        return f.build.or_(nan, f.build.fcmp_ordered(">", value, best))

    def peaks(self) -> None:
        with self.units(NAMES[2], 4, PEAK_WORDS) as (f, given, unit):
            build = f.build
            best, at = f.local(self.scalar), f.local(WORD)

            def index(of: str, *products: Any) -> Any:
                return build.load(build.gep(given[of], [f.sum(0, *products)], source_etype=WORD), typ=WORD)

            plane = self.at(f, given["x"], unit, build.mul(given["h"], given["w"]))
            with f.loop(given["out_h"]) as i, f.loop(given["out_w"]) as j:
                first = f.sum(
                    index("columns", j, given["kernel_w"]), index("rows", i, given["kernel_h"]), given["w"]
                )
                build.store(self.load(f, self.at(f, plane, first, 1)), best)
                build.store(first, at)
                with f.loop(given["kernel_h"]) as k, f.loop(given["kernel_w"]) as l:
                    row = index("rows", i, given["kernel_h"], k, 1)
                    place = f.sum(index("columns", j, given["kernel_w"], l, 1), row, given["w"])
                    value = self.load(f, self.at(f, plane, place, 1))
                    old, old_at = build.load(best, typ=self.scalar), build.load(at, typ=WORD)
                    larger = self.larger(f, value, old)
                    build.store(build.select(larger, value, old), best)
                    build.store(build.select(larger, place, old_at), at)
                target = f.sum(j, f.sum(i, unit, given["out_h"]), given["out_w"])
                build.store(build.load(at, typ=WORD), build.gep(given["to"], [target], source_etype=WORD))
