"""The command line, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jitgrad.cli import demo, terminal
from jitgrad.cli.main import main
from jitgrad.cli.measure import disagreement, prepare
from jitgrad.cli.models import MODELS, Model
from jitgrad.cli.peers import ENGINES, Engine
from jitgrad.cli.workloads import DTYPES, WORKLOADS, Workload

OUR_ENGINES = ("fused", "interpreter")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "kernels"
    monkeypatch.setenv("JITGRAD_CACHE_DIR", str(folder))
    return folder


def test_info_names_versions_threads_and_the_cache_folder(
    own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"numpy         {np.__version__}" in out
    assert f"{own_cache} (0 kernels, 0 B)" in out
    assert "threads" in out


def test_cache_lists_and_clears_the_kernels_on_disk(
    own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_cache.mkdir(mode=0o700)
    for suffix in (".py", ".o"):
        (own_cache / ("0123456789abcdef" + suffix)).write_text("#" * 500)
    (own_cache / "notes.txt").write_text("not a kernel")

    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    assert "0123456789abcdef.py" in out
    assert f"1 kernels, 1.00 kB, in {own_cache}" in out

    assert main(["cache", "clear"]) == 0
    assert f"removed 1 kernels from {own_cache}" in capsys.readouterr().out
    assert [path.name for path in own_cache.iterdir()] == ["notes.txt"]


def test_cache_prewarm_runs_a_script_and_keeps_its_programs(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JITGRAD_PROGRAM_CACHE", "1")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nimport numpy as np\nimport jitgrad\n"
        "assert __name__ == '__main__' and sys.argv == [__file__]\n"
        "slope = jitgrad.grad(lambda x: np.sum(x * x))\nprint(slope(np.ones(2)))\n"
    )
    assert main(["cache", "prewarm", str(script)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("[2. 2.]\n")
    assert f", in {own_cache}" in out

    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    kinds = ("kernel ", "program of <lambda> in script.py")
    assert [sum(kind in line for line in lines) for kind in kinds] == [1, 1]

    with pytest.raises(SystemExit, match="2"):
        main(["cache", "clear", str(script)])


@pytest.mark.parametrize(("command", "extra"), [("demo", "demo"), ("bench", "bench")])
def test_a_missing_extra_is_named(
    command: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "installed", lambda module: module != "rich")
    assert main([command]) == 1
    assert f'needs rich: pip install "jitgrad[{extra}]"' in capsys.readouterr().err


def test_an_unknown_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["dance"])
    assert "invalid choice: 'dance'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def digits() -> demo.Digits:
    return demo.load()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_gradients_by_hand_match_the_fused_ones(model: Model, digits: demo.Digits) -> None:
    parameters = model.start(np.random.default_rng(1))
    value, gradient = demo.function_of(model, "fused")(parameters, digits.images, digits.labels)
    value_by_hand, by_hand = model.by_hand(parameters, digits.images, digits.labels)
    assert value == pytest.approx(value_by_hand, rel=1e-12)
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-9, atol=1e-12)


def test_demo_learns_the_digits_and_writes_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "demo.png"
    assert main(["demo", "--output", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    for expected in ("logistic regression", "two-layer network", "Fusion saves", str(picture), ".py"):
        assert expected in out
    accuracies = [float(word[:-1]) for word in out.split() if word.endswith("%")]
    assert len(accuracies) == 6
    assert min(accuracies) >= 95.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=lambda workload: workload.name)
def test_engines_agree_on_every_workload(workload: Workload, dtype: str) -> None:
    arrays = workload.arrays(next(iter(workload.sizes)), dtype)
    expected: list[np.ndarray] = []
    names = [*OUR_ENGINES, *(["jax"] if ENGINES["jax"].available else [])]
    contenders = [prepare(ENGINES[name], workload, arrays, expected) for name in names]
    assert [contender.problem for contender in contenders] == [""] * len(names)


def test_bench_writes_its_figures_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "figures.json"
    arguments = ["bench", "--workloads", "tiny", "--engines", *OUR_ENGINES, "--rounds", "2"]
    assert main([*arguments, "--json", str(output)]) == 0
    assert "tiny M (8, float32)" in capsys.readouterr().out
    rows = {row["engine"]: row for row in json.loads(output.read_text())["rows"]}
    assert set(OUR_ENGINES) < set(rows)
    assert all(len(row["rounds_s"]) == 2 and row["median_s"] > 0 for row in rows.values())
    assert rows["fused"]["bytes"] == 4 * 8 * 4


def test_bench_shows_why_an_engine_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(workload: Workload, arrays: list[np.ndarray]) -> None:
        raise RuntimeError("no C++ compiler\nand a long story")

    contender = prepare(Engine("broken", (), fail), WORKLOADS["tiny"], [], [])  # type: ignore[arg-type]
    assert contender.problem == "RuntimeError: no C++ compiler"
    assert contender.call is None


def test_bench_notices_a_wrong_result() -> None:
    right = [np.float32(2.0), np.arange(3.0, dtype=np.float32)]
    assert disagreement(right, right) == ""
    assert disagreement([np.float32(2.1), right[1]], right) == "result 0 is off by 5e-02"
    assert disagreement([right[0], right[1] * np.float32(np.nan)], right) == "result 1 is off by nan"
    assert disagreement([right[0], right[1].astype(np.float64)], right).startswith("result 1 is float64(3,)")
