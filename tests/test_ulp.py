"""The accuracy of the elementary functions, of the oracle that measures it, and of the command."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jitgrad import vmath
from jitgrad.accuracy import FUNCTIONS, LIBRARIES, Sweep, errors, exact, library_function, points, sweep
from jitgrad.accuracy.oracle import context
from jitgrad.accuracy.sampling import close_to_multiples_of_half_pi
from jitgrad.cli import terminal, ulp
from jitgrad.cli.main import main

DTYPES = ("float32", "float64")
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_function = pytest.mark.parametrize("name", FUNCTIONS)

# Arguments and the first 50 digits of the result.
KNOWN = {
    "exp": ((1,), "2.7182818284590452353602874713526624977572470936999"),
    "exp2": ((0.5,), "1.4142135623730950488016887242096980785696718753769"),
    "expm1": ((1,), "1.7182818284590452353602874713526624977572470936999"),
    "log": ((2,), "0.69314718055994530941723212145817656807550013436026"),
    "log2": ((3,), "1.5849625007211561814537389439478165087598144076925"),
    "log10": ((2,), "0.30102999566398119521373889472449302676818988146211"),
    "log1p": ((1,), "0.69314718055994530941723212145817656807550013436026"),
    "sin": ((1,), "0.84147098480789650665250232163029899962256306079837"),
    "cos": ((1,), "0.54030230586813971740093660744297660373231042061792"),
    "tan": ((1,), "1.5574077246549022305069748074583601730872507723815"),
    "arcsin": ((0.5,), "0.52359877559829887307710723054658381403286156656252"),
    "arccos": ((-1,), "3.1415926535897932384626433832795028841971693993751"),
    "arctan": ((1,), "0.78539816339744830961566084581987572104929234984378"),
    "arctan2": ((1, -1), "2.3561944901923449288469825374596271631478770495313"),
    "sinh": ((1,), "1.1752011936438014568823818505956008151557179813341"),
    "cosh": ((1,), "1.5430806348152437784779056207570616826015291123659"),
    "tanh": ((1,), "0.76159415595576488811945828260479359041276859725794"),
    "arcsinh": ((1,), "0.88137358701954302523260932497979230902816032826163"),
    "arccosh": ((2,), "1.3169578969248167086250463473079684440269819714675"),
    "arctanh": ((0.5,), "0.54930614433405484569762261846126285232374527891137"),
    "power": ((2, 0.5), "1.4142135623730950488016887242096980785696718753769"),
    "cbrt": ((-2,), "-1.2599210498948731647672106072782283505702514647015"),
    "hypot": ((1, -1), "1.4142135623730950488016887242096980785696718753769"),
    "sqrt": ((2,), "1.4142135623730950488016887242096980785696718753769"),
    "erf": ((1,), "0.84270079294971486934122063508260925929606699796630"),
    "erfc": ((1,), "0.15729920705028513065877936491739074070393300203370"),
    "sigmoid": ((1,), "0.73105857863000487925115924182183627436514464016505"),
    "softplus": ((0,), "0.69314718055994530941723212145817656807550013436026"),
    "lgamma": ((0.5,), "0.57236494292470008707171367567652935582364740645766"),
    "lgamma, x<0": ((-0.5,), "1.2655121234846453964889457971347059238991475408179"),
    "digamma": ((1,), "-0.57721566490153286060651209008240243104215933593992"),
    "digamma, x<0": ((-0.5,), "0.036489973978576520559023667001244432806840395339566"),
}


@each_dtype
@each_function
def test_errors_stay_within_the_bound(name: str, dtype: str) -> None:
    arguments = points(name, dtype, 200, seed=1)
    got = ulp.ours(FUNCTIONS[name].routine)(*arguments)
    assert got.dtype == dtype
    found = errors(got, exact(name, *arguments))
    worst = int(np.argmax(found))
    where = ", ".join(str(a[worst]) for a in arguments)
    assert found[worst] <= FUNCTIONS[name].bound, (
        f"{name}({where}) = {got[worst]} is off by {found[worst]} ulp"
    )


@each_function
def test_the_oracle_knows_50_digits(name: str) -> None:
    arguments, digits = KNOWN[name]
    mp = context(200)
    value = FUNCTIONS[name].reference(mp, *map(mp.mpf, arguments))
    assert abs(value - mp.mpf(digits)) < abs(value) * mp.mpf(10) ** -49


@each_function
def test_the_precision_of_the_oracle_suffices(name: str) -> None:
    arguments = points(name, "float64", 60, seed=2)
    some = np.random.default_rng(2).choice(arguments[0].size, 250)
    arguments = tuple(a[some] for a in arguments)
    value, better = exact(name, *arguments), exact(name, *arguments, bits=512)
    shift = better.exponent - value.exponent
    difference = np.ldexp(better.high, shift) - value.high + (np.ldexp(better.low, shift) - value.low)
    assert np.abs(difference).max() < 2.0**-75


@each_dtype
def test_a_correctly_rounded_function_is_off_by_half_an_ulp_at_most(dtype: str) -> None:
    (x,) = points("sqrt", dtype, 1000)
    found = errors(np.sqrt(x), exact("sqrt", x))
    assert 0.49 < found.max() <= 0.5


@each_dtype
def test_an_error_is_counted_in_units_of_the_binade_of_the_exact_value(dtype: str) -> None:
    info = np.finfo(dtype)
    kind = np.dtype(dtype).type
    least = info.minexp - info.nmant
    eight, small, normal = kind(8), info.smallest_subnormal, info.smallest_normal
    up, down = kind(np.inf), kind(0)
    cases = [
        (3, eight, 0.0),
        (3, np.nextafter(eight, up), 1.0),
        (3, np.nextafter(eight, down), 0.5),
        (3, -eight, 2.0 ** (info.nmant + 1)),
        (3, np.nan, np.inf),
        (3, np.inf, np.inf),
        (least, small, 0.0),
        (least, 0, 1.0),
        (least, 3 * small, 2.0),
        (least - 1, small, 0.5),
        (least - 20, 0, 2.0**-20),
        (info.minexp, np.nextafter(normal, down), 1.0),
        (info.maxexp, np.inf, 0.0),
        (info.maxexp, -np.inf, np.inf),
        (info.maxexp, info.max, 0.5),
        (-5 * info.maxexp, 0, 0.0),
        (-5 * info.maxexp, 2 * small, 2.0),
        (5 * info.maxexp, np.inf, 0.0),
    ]
    argument, got, expected = (np.array(column) for column in zip(*cases, strict=True))
    found = errors(got.astype(dtype), exact("exp2", argument))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@each_dtype
def test_infinity_is_right_only_where_the_exact_value_rounds_to_it(dtype: str) -> None:
    info = np.finfo(dtype)
    largest, infinity = np.array([info.max]), np.array([np.inf], dtype)
    for part, error in ((0.45, np.inf), (0.55, 0.0)):
        # hypot(a, b) is about a + b**2 / 2a: here the largest number and this part of its ulp.
        other = (float(info.max) * np.sqrt(2 * part * info.epsneg)).astype(dtype)
        value = exact("hypot", largest, np.array([other]))
        assert errors(infinity, value)[0] == error
        assert errors(largest, value)[0] == pytest.approx(part, abs=1e-3)


@each_dtype
@each_function
def test_points_are_finite_lie_in_the_domain_and_repeat(name: str, dtype: str) -> None:
    arguments = points(name, dtype, 50, seed=3)
    assert len(arguments) == FUNCTIONS[name].arity
    assert all(a.dtype == dtype and np.isfinite(a).all() for a in arguments)
    assert FUNCTIONS[name].domain(*arguments).all()
    assert arguments[0].size >= 200
    again, other = points(name, dtype, 50, seed=3), points(name, dtype, 50, seed=4)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(arguments, again, strict=True))
    assert arguments[0].tobytes() != other[0].tobytes()


def test_the_floats_closest_to_multiples_of_half_pi_are_among_the_points() -> None:
    assert 6381956970095103 * 2.0**797 in close_to_multiples_of_half_pi(np.dtype("float64"))
    assert 16367173 * 2.0**72 in close_to_multiples_of_half_pi(np.dtype("float32"))
    for dtype, closest in (("float32", 2.0**-29), ("float64", 2.0**-60)):
        value = exact("cos", *points("cos", dtype, 10))
        assert np.abs(np.ldexp(value.high, value.exponent)).min() < closest


@each_dtype
@pytest.mark.parametrize("library", LIBRARIES)
def test_other_libraries_compute_the_same_functions(library: str, dtype: str) -> None:
    pytest.importorskip(library)
    tolerance = {"float32": 1e-5, "float64": 1e-9}[dtype]
    for name, function in FUNCTIONS.items():
        evaluate = library_function(library, function.routine)
        arguments = [np.array([1.25, 1.75] if name == "arccosh" else [0.25, 0.75], dtype)] * function.arity
        if function.term is not None:
            arguments = [-arguments[0]]
        if evaluate is not None:
            got, value = evaluate(*arguments), exact(name, *arguments)
            assert got.dtype == dtype
            np.testing.assert_allclose(
                got, np.ldexp(value.high, value.exponent), rtol=tolerance, err_msg=name
            )


def three_ulp_off(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return the function with an error of 3 ulp at 1.5."""

    def evaluate(x: np.ndarray) -> np.ndarray:
        got = function(x)
        return np.where(x == 1.5, got + 3 * np.spacing(got), got)

    return evaluate


@pytest.fixture
def wrong_exp(monkeypatch: pytest.MonkeyPatch) -> None:
    right = vmath.ufunc("exp")
    monkeypatch.setattr(vmath, "ufunc", lambda name: three_ulp_off(right))
    monkeypatch.setattr(ulp, "points", lambda *_: (np.array([0.5, 1.5, 2.5], np.float32),))


def test_the_command_prints_a_row_for_each_dtype(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ulp", "sqrt", "hypot", "--points", "20", "--no-peers"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[1:4:2] for line in out.splitlines() if "float" in line] == [
        [name, dtype] for name in ("hypot", "sqrt") for dtype in DTYPES
    ]
    assert "0.5" in out and "above" not in err


def test_the_command_compares_and_prints_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ulp", "sqrt", "--points", "20", "--dtype", "float64", "--markdown"]) == 0
    header, rule, row = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, rule, row)]
    assert cells[0][:5] == ["function", "dtype", "bound", "jitgrad", "NumPy/SciPy"]
    assert set(cells[1]) == {"---"} and len({len(line) for line in cells}) == 1
    assert cells[2][:3] == ["sqrt", "float64", "0.5"]
    assert cells[2][3] == cells[2][4]


def test_the_command_fails_for_an_error_above_the_bound(
    wrong_exp: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ulp", "exp", "--dtype", "float32", "--no-peers", "--markdown"]) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-2:] == ["3 points", "above the bound: exp float32"]
    name, dtype, bound, found = (cell.strip() for cell in out.splitlines()[-1].strip("|").split("|"))
    assert (name, dtype, bound) == ("exp", "float32", "1")
    assert found.endswith("!") and 2.5 <= float(found.split()[0]) <= 3.5


def test_the_command_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in (
        (["tanhh"], "unknown function 'tanhh'"),
        (["power", "--exhaustive"], "functions of one argument in float32"),
        (["exp", "--exhaustive", "--dtype", "float64"], "functions of one argument in float32"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(["ulp", *arguments])
        assert complaint in capsys.readouterr().err


def test_a_missing_mpmath_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "installed", lambda module: module != "mpmath")
    assert main(["ulp"]) == 1
    complaint = 'python -m jitgrad ulp: this command needs mpmath: pip install "jitgrad[accuracy]"\n'
    assert capsys.readouterr().err == complaint


def swept(ours: Callable[..., np.ndarray]) -> Sweep:
    """Return the errors over the 2**20 float32 numbers from 1.5 on."""
    reference = library_function("numpy", "exp")
    assert reference is not None
    (found,) = sweep("exp", ours, reference, 1, [0x3FC])
    return found


def test_a_sweep_finds_one_wrong_value_among_a_million() -> None:
    found = swept(three_ulp_off(ulp.ours("exp")))
    assert found.count == 2**20
    assert found.where == 1.5 and 2.5 <= found.largest <= 3.5


def test_a_sweep_agrees_with_the_oracle() -> None:
    found = swept(ulp.ours("exp"))
    x = np.random.default_rng(5).uniform(1.5, 1.625, 2000).astype(np.float32)
    sample = errors(ulp.ours("exp")(x), exact("exp", x))
    assert sample.max() <= found.largest <= sample.max() + 0.1
    assert found.mean == pytest.approx(sample.mean(), rel=0.1)
    at = np.array([found.where], np.float32)
    assert errors(ulp.ours("exp")(at), exact("exp", at))[0] == found.largest


def test_the_command_sweeps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(ulp, "CHUNKS", 2)
    assert main(["ulp", "sqrt", "--exhaustive", "--markdown"]) == 0
    assert "| sqrt | float32 | 0.5 | 0.500 (0.2" in capsys.readouterr().out
