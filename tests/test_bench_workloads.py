"""The benchmark's engines compute the same, and what it reports follows from what it measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from jitgrad.cli.isolated import IMPORTS, answer_of, imports, in_fresh_process
from jitgrad.cli.main import main
from jitgrad.cli.measure import exact_results, prepare
from jitgrad.cli.peers import ENGINES, register
from jitgrad.cli.summary import behind, speedups
from jitgrad.cli.workloads import DTYPES, SIZES, WORKLOADS, Case, Workload

each_workload = pytest.mark.parametrize("workload", WORKLOADS.values(), ids=lambda workload: workload.name)


def problem(engine: str, workload: Workload, dtype: str, size: str = "") -> str:
    arrays = workload.arrays(size or next(iter(workload.sizes)), dtype)
    return prepare(ENGINES[engine], workload, arrays, exact_results(workload, arrays)).problem


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("engine", ["eager", "torch", "autograd"])
@each_workload
def test_peers_agree_with_the_interpreter(workload: Workload, engine: str, dtype: str) -> None:
    if not ENGINES[engine].available:
        pytest.skip(f"{engine} is not installed")
    assert problem(engine, workload, dtype) == ""


@pytest.mark.parametrize("dtype", DTYPES)
@each_workload
def test_loops_by_hand_agree_with_the_interpreter(workload: Workload, dtype: str) -> None:
    pytest.importorskip("numba")
    register(["bench.hand_written"])
    assert problem("by hand", workload, dtype) == ""


@pytest.mark.parametrize("name", ["heat", "rosenbrock", "lennard-jones", "convolution", "batch-norm", "mlp"])
def test_loops_by_hand_agree_where_threads_share_them(name: str) -> None:
    pytest.importorskip("numba")
    register(["bench.hand_written"])
    assert problem("by hand", WORKLOADS[name], "float64", "M") == ""


@pytest.mark.parametrize("dtype", DTYPES)
def test_elementary_functions_by_hand_are_accurate(dtype: str) -> None:
    pytest.importorskip("numba")
    special = pytest.importorskip("scipy.special")
    elementary = pytest.importorskip("bench.hand_written.elementary").elementary
    real = np.dtype(dtype).type
    functions, epsilon = elementary(real), np.finfo(real).eps
    x = np.linspace(-20, 20, 2001).astype(real)
    wide = x.astype(np.longdouble)
    for name, exact in {
        "exp": np.exp(wide),
        "tanh": np.tanh(wide),
        "sigmoid": 1 / (1 + np.exp(-wide)),
        "softplus": np.log1p(np.exp(wide)),
    }.items():
        values = np.array([getattr(functions, name)(v) for v in x])
        np.testing.assert_allclose(values, exact, rtol=8 * epsilon, atol=2 * epsilon)
    positive = np.geomspace(1e-30, 1e30, 2001).astype(real)
    logarithms = [functions.log(v) for v in positive]
    np.testing.assert_allclose(
        logarithms, np.log(positive.astype(np.longdouble)), rtol=4 * epsilon, atol=epsilon
    )
    cdf, pdf = np.array([functions.cdf_and_pdf(v) for v in x]).T
    np.testing.assert_allclose(cdf, special.ndtr(x.astype(float)), rtol=0, atol=16 * epsilon)
    np.testing.assert_allclose(pdf, np.exp(-wide * wide / 2) / np.sqrt(2 * np.pi), rtol=0, atol=2 * epsilon)


@each_workload
def test_a_workload_grows_from_size_to_size(workload: Workload) -> None:
    bytes_of = [sum(np.prod(n) for n in [workload.sizes[s]]) for s in SIZES if s in workload.sizes]
    assert bytes_of == sorted(bytes_of)


def test_a_summary_means_ratios_and_lists_where_a_peer_is_ahead() -> None:
    first, second = (Case(WORKLOADS[name], "M", "float32") for name in ("chain", "heat"))
    medians = {
        first: {"fused": 1.0, "jax": 4.0, "torch": 8.0, "interpreter": 0.1},
        second: {"fused": 1.0, "jax": 0.25, "torch": 2.0, "interpreter": 10.0},
    }
    means = speedups(medians)[("M", "float32")]
    assert means == pytest.approx({"interpreter": 1.0, "jax": 1.0, "torch": 4.0})
    assert list(behind(medians)) == [(second, "jax", 0.25)]


def test_a_case_where_our_engine_failed_is_in_no_mean() -> None:
    medians = {Case(WORKLOADS["chain"], "M", "float32"): {"jax": 4.0}}
    assert speedups(medians) == {}
    assert list(behind(medians)) == []


def test_bench_times_first_calls_of_two_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "starts.json"
    arguments = ["bench", "--starts", "--workloads", "tiny", "--engines", "fused", "--json", str(output)]
    assert main(arguments) == 0
    assert "second process" in capsys.readouterr().out
    (row,) = json.loads(output.read_text())["rows"]
    assert 0 < row["second_process_s"] < row["first_call_s"]
    assert row["import_s"] > 0


def test_imports_are_timed_in_a_process_that_has_imported_nothing_else(tmp_path: Path) -> None:
    text = "import sys, time\ntime.sleep(0.2)\nassert 'jitgrad' not in sys.modules"
    (tmp_path / "slow.py").write_text(text)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{IMPORTS}"
    answer = answer_of(["-c", program, "slow"], tmp_path)
    assert answer["import_s"] >= 0.2
    assert imports(["surely_missing"], tmp_path) == {
        "problem": "ModuleNotFoundError: No module named 'surely_missing'"
    }


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_bench_sees_the_memory_that_calls_take(tmp_path: Path) -> None:
    peaks = {}
    for engine in ("fused", "interpreter"):
        answer = in_fresh_process("memory", (engine, "clipped", "M", "float32"), (), tmp_path)
        peaks[engine] = answer["peak_bytes"]
    arrays = 4 * 4_000_000  # two inputs, two gradients
    assert 0.9 * arrays < peaks["fused"] < 0.5 * peaks["interpreter"]


def test_an_engine_that_fails_in_its_process_says_why(tmp_path: Path) -> None:
    answer = in_fresh_process("first_call", ("none", "tiny", "M", "float32"), (), tmp_path)
    assert answer == {"problem": "KeyError: 'none'"}
