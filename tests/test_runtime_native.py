"""Loading object code and launching it, alone and on threads."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from jitgrad.machine import native, threads

# Every kernel here gets in args[0] the array that it works on.
IR = """
declare double @exp(double)

; array[i] += 1
define void @test_count(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
entry:
  %array = load ptr, ptr %args
  %any = icmp slt i64 %lo, %hi
  br i1 %any, label %loop, label %end
loop:
  %i = phi i64 [ %lo, %entry ], [ %next, %loop ]
  %at = getelementptr i64, ptr %array, i64 %i
  %old = load i64, ptr %at
  %new = add i64 %old, 1
  store i64 %new, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %hi
  br i1 %more, label %loop, label %end
end:
  ret void
}

; array[i] = scratch
define void @test_slot(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
entry:
  %array = load ptr, ptr %args
  br label %loop
loop:
  %i = phi i64 [ %lo, %entry ], [ %next, %loop ]
  %at = getelementptr i64, ptr %array, i64 %i
  store ptr %scratch, ptr %at
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %hi
  br i1 %more, label %loop, label %end
end:
  ret void
}

; args[1] = sum of the args[2] numbers of array
define void @test_total(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
entry:
  %array = load ptr, ptr %args
  %total.at = getelementptr i64, ptr %args, i64 1
  %count.at = getelementptr i64, ptr %args, i64 2
  %count = load i64, ptr %count.at
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %sum = phi i64 [ 0, %entry ], [ %sum.next, %loop ]
  %at = getelementptr i64, ptr %array, i64 %i
  %x = load i64, ptr %at
  %sum.next = add i64 %sum, %x
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %loop, label %end
end:
  store i64 %sum.next, ptr %total.at
  ret void
}

; Unit 0 waits until another thread has begun unit 1, for at most args[1] turns.
define void @test_meet(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
entry:
  %array = load ptr, ptr %args
  %turns.at = getelementptr i64, ptr %args, i64 1
  %turns = load i64, ptr %turns.at
  %mine = getelementptr i64, ptr %array, i64 %lo
  store atomic i64 1, ptr %mine seq_cst, align 8
  %other = sub i64 1, %lo
  %theirs = getelementptr i64, ptr %array, i64 %other
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %again ]
  %seen = load atomic i64, ptr %theirs seq_cst, align 8
  %met = icmp ne i64 %seen, 0
  br i1 %met, label %end, label %again
again:
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %turns
  br i1 %more, label %loop, label %end
end:
  %answer = phi i64 [ 2, %loop ], [ 3, %again ]
  store atomic i64 %answer, ptr %mine seq_cst, align 8
  ret void
}

; array[0] = exp(array[0])
define void @test_exp(ptr %args, i64 %lo, i64 %hi, ptr %scratch) {
  %array = load ptr, ptr %args
  %x = load double, ptr %array
  %y = call double @exp(double %x)
  store double %y, ptr %array
  ret void
}
"""

NAMES = ("test_count", "test_slot", "test_total", "test_meet", "test_exp")
OBJECT = native.compile_ir(IR)
ADDRESSES = native.load_object(OBJECT, NAMES)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
needs_pool = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX threads")

Block = ctypes.Array[ctypes.c_int64]


def make_block(kernel: str, units: int, grain: int, *args: int, finish: str = "") -> Block:
    words = (ADDRESSES[kernel], ADDRESSES.get(finish, 0), units, grain, 0, 0, *args)
    return (ctypes.c_int64 * len(words))(*words)


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = threads._chosen
    threads.set_num_threads(4)
    yield
    threads._chosen = before
    threads.launcher().missing.value = 1


@pytest.fixture(params=["launch", "launch_holding_gil"])
def launch(request: pytest.FixtureRequest):
    return getattr(threads.launcher(), request.param)


def test_object_code_reaches_the_mathematical_library() -> None:
    x = np.array([1.0])
    threads.launcher().launch(make_block("test_exp", 1, 1, x.ctypes.data))
    assert x[0] == pytest.approx(np.e, rel=1e-15)


def test_loading_the_same_names_again_gives_the_same_addresses() -> None:
    assert native.load_object(OBJECT, NAMES) == ADDRESSES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage" * 20,
        OBJECT[:40],
        OBJECT[:100],
        OBJECT[:-200],
        OBJECT[:64] + b"\xff" * len(OBJECT[64:]),
    ],
    ids=["empty", "garbage", "half a header", "header", "cut", "overwritten"],
)
def test_damaged_object_code_is_an_error(data: bytes) -> None:
    with pytest.raises(native.ObjectCodeError):
        native.load_object(data, ["test_new"])


def test_a_name_that_is_not_exported_is_an_error() -> None:
    with pytest.raises(native.ObjectCodeError, match="does not export test_absent"):
        native.load_object(OBJECT, ["test_absent"])


def test_a_symbol_that_the_process_lacks_is_an_error() -> None:
    code = native.compile_ir(
        "declare void @no_such_function()\n"
        "define void @test_lacking() { call void @no_such_function() ret void }"
    )
    with pytest.raises(native.ObjectCodeError, match="needs no_such_function"):
        native.load_object(code, ["test_lacking"])


def strided_loop() -> bytes:
    """What LLVM makes for another library of a loop that it would rather count by addresses."""
    loads = "".join(
        f"%at{k} = getelementptr double, ptr %x{k}, i64 %j\n%v{k} = load double, ptr %at{k}\n"
        f"%s{k} = fadd double %v{k}, 1.0\nstore double %s{k}, ptr %at{k}\n"
        for k in range(3)
    )
    module = llvm.parse_assembly(
        "define void @f(ptr %x0, ptr %x1, ptr %x2, i64 %n, i64 %step) {\nentry:\nbr label %loop\nloop:\n"
        "%i = phi i64 [0, %entry], [%next, %loop]\n%j = mul i64 %i, %step\n"
        f"{loads}%next = add i64 %i, 1\n%more = icmp slt i64 %next, %n\n"
        "br i1 %more, label %loop, label %end\nend:\nret void\n}",
        llvm.create_context(),
    )
    code: bytes = native.target_machine().emit_object(module)
    return code


def test_other_users_of_llvm_get_code_as_before() -> None:
    before = strided_loop()
    with native._loops_as_they_are():
        during = strided_loop()
    native.compile_ir(IR)
    assert strided_loop() == before
    if platform.machine().lower() in ("x86_64", "amd64"):
        assert during != before, "the loop does not show the option"


def test_wrong_ir_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        native.compile_ir("define void @test_wrong() { ret i32 }")


def test_addresses_are_those_of_the_data() -> None:
    base = np.zeros((8, 8))
    block = (ctypes.c_int64 * 8)()
    arrays = [base, base[2:, 1:], base.T, base[::-1], np.array(1.0), np.zeros(0), np.zeros(2, "f4")]
    expected = [array.ctypes.data for array in arrays]
    assert [native.address(array) for array in arrays] == expected
    assert [threads.launcher().address(array) for array in arrays] == expected
    threads.launcher().bind(block, 1, *arrays)
    assert block[:] == [0, *expected]


@pytest.mark.parametrize(
    ("units", "grain"), [(0, 1), (1, 1), (2, 1), (5, 2), (7, 7), (1000, 1), (1000, 17), (9, 0)]
)
def test_every_unit_runs_once(launch, units: int, grain: int) -> None:
    counts = np.zeros(units + 1, np.int64)
    block = make_block("test_count", units, grain, counts.ctypes.data)
    for _ in range(20):
        assert launch(block) is None
    assert counts.tolist() == [20] * units + [0]


@pytest.mark.parametrize(("units", "grain"), [(50, 50), (50, 60), (2, 1), (50, 25), (1000, 1)])
def test_each_thread_works_in_a_slot_of_its_own(launch, units: int, grain: int) -> None:
    where = np.zeros(units, np.int64)
    block = make_block("test_slot", units, grain, where.ctypes.data)
    block[4], block[5] = 4096, 64
    slots = min(4, -(-units // grain))
    for _ in range(20):
        launch(block)
        assert set(where.tolist()) <= {4096 + 64 * slot for slot in range(slots)}


@pytest.mark.parametrize("grain", [1, 10, 1000])
def test_finish_sees_the_work_of_all(launch, grain: int) -> None:
    counts = np.zeros(1000, np.int64)
    block = make_block("test_count", 1000, grain, counts.ctypes.data, -1, 1000, finish="test_total")
    for turn in range(1, 50):
        launch(block)
        assert block[threads.ARGS + 1] == 1000 * turn


@needs_pool
def test_a_pool_thread_works_beside_the_caller(launch) -> None:
    flags = np.zeros(2, np.int64)
    launch(make_block("test_meet", 2, 1, flags.ctypes.data, 10**11))
    assert flags.tolist() == [2, 2]


def test_with_one_thread_everything_is_serial(launch) -> None:
    threads.set_num_threads(1)
    flags = np.zeros(2, np.int64)
    launch(make_block("test_meet", 2, 1, flags.ctypes.data, 10))
    assert flags.tolist() == [3, 0]  # one call for both units
    assert threads._handles == []


@needs_pool
def test_the_number_of_threads_can_change() -> None:
    counts = np.zeros(100, np.int64)
    block = make_block("test_count", 100, 1, counts.ctypes.data)
    for turn, count in enumerate((2, 6, 1, 3), start=1):
        threads.set_num_threads(count)
        assert threads.get_num_threads() == count
        threads.launcher().launch(block)
        assert len(threads._handles) == count - 1
        assert (counts == turn).all()


def test_launches_from_several_threads_do_not_disturb_each_other() -> None:
    launch = threads.launcher().launch
    counts = [np.zeros(300, np.int64) for _ in range(5)]

    def work(mine: np.ndarray) -> None:
        block = make_block("test_count", 300, 3, mine.ctypes.data)
        for turn in range(300):
            if turn % 100 == 50:
                threads.set_num_threads(2 + turn // 100)
            launch(block)

    workers = [threading.Thread(target=work, args=(mine,)) for mine in counts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all((mine == 300).all() for mine in counts)


@pytest.mark.parametrize("count", [0, -1, threads.MAX_THREADS + 1])
def test_a_number_of_threads_out_of_range_is_an_error(count: int) -> None:
    with pytest.raises(ValueError, match="between 1 and"):
        threads.set_num_threads(count)
    assert threads.get_num_threads() == 4


@pytest.fixture
def default_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "_chosen", None)
    threads._default_threads.cache_clear()
    yield
    threads._default_threads.cache_clear()


@pytest.mark.usefixtures("default_threads")
def test_the_environment_sets_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JITGRAD_NUM_THREADS", "3")
    assert threads.get_num_threads() == 3


@needs_pool
@pytest.mark.usefixtures("default_threads")
def test_a_wrong_environment_is_an_error_of_the_launch(launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JITGRAD_NUM_THREADS", "many")
    counts = np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="JITGRAD_NUM_THREADS must be a whole number, got 'many'"):
        launch(make_block("test_count", 2, 1, counts.ctypes.data))
    assert counts.tolist() == [0, 0]


def run_python(body: str, **environment: str) -> str:
    """Run code in a process of its own, with jitgrad.runtime but without what jitgrad itself imports."""
    package = Path(native.__file__).parents[1]
    start = f"""
    import sys, types
    jitgrad = sys.modules["jitgrad"] = types.ModuleType("jitgrad")
    jitgrad.__path__ = [{str(package)!r}]
    import ctypes, os, threading, time
    from jitgrad.machine import cache, native
    from jitgrad.machine import threads
    from jitgrad.runtime import buffers
    names = ("test_count", "test_meet")
    with open(os.environ["TEST_OBJECT"], "rb") as file:
        found = native.load_object(file.read(), names)
    def block(name, units, grain, array, *args):
        words = (found[name], 0, units, grain, 0, 0, ctypes.addressof(array), *args)
        return (ctypes.c_int64 * len(words))(*words)
    counts = (ctypes.c_int64 * 100)()
    launch = threads.launcher().launch
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(start) + textwrap.dedent(body)],
        env={**os.environ, "JITGRAD_NUM_THREADS": "3", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def object_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test.o").write_bytes(OBJECT)
    monkeypatch.setenv("TEST_OBJECT", str(tmp_path / "test.o"))


@needs_fork
@pytest.mark.usefixtures("object_file")
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    out = run_python("""
    work = block("test_count", 100, 1, counts)
    launch(work)
    child = os.fork()
    for _ in range(10):
        launch(work)
    flags = (ctypes.c_int64 * 2)()
    launch(block("test_meet", 2, 1, flags, 10**11))
    good = counts[:] == [11] * 100 and flags[:] == [2, 2] and len(threads._handles) == 2
    if child == 0:
        os._exit(0 if good else 1)
    print(good, os.waitpid(child, 0)[1])
    """)
    assert out.split() == ["True", "0"]


@needs_fork
@pytest.mark.usefixtures("object_file")
def test_a_fork_while_the_pool_is_at_work_is_safe() -> None:
    out = run_python("""
    import warnings
    warnings.simplefilter("ignore")  # Python warns of a fork beside other threads
    flags = (ctypes.c_int64 * 2)()
    long = threading.Thread(target=launch, args=(block("test_meet", 2, 2, flags, 3 * 10**8),))
    launch(block("test_count", 100, 1, counts))
    busy = block("test_count", 100, 1, counts)
    stop = []
    other = threading.Thread(target=lambda: [launch(busy) for _ in iter(lambda: not stop, False)])
    other.start()
    states = []
    for _ in range(20):
        child = os.fork()
        if child == 0:
            mine = (ctypes.c_int64 * 100)()
            launch(block("test_count", 100, 1, mine))
            os._exit(0 if mine[:] == [1] * 100 else 1)
        states.append(os.waitpid(child, 0)[1])
    stop.append(True)
    other.join()
    print(set(states), len(set(counts)))
    """)
    assert out.strip() == "{0} 1"


@pytest.mark.usefixtures("object_file")
def test_the_interpreter_ends_while_kernels_run() -> None:
    out = run_python("""
    flags = (ctypes.c_int64 * 3)()
    endless = block("test_meet", 1, 1, flags, 10**15)
    threading.Thread(target=launch, args=(endless,), daemon=True).start()
    launch(block("test_count", 100, 1, counts))
    both = block("test_count", 100, 1, counts)
    threading.Thread(target=lambda: [launch(both) for _ in range(10**9)], daemon=True).start()
    time.sleep(0.2)
    print("end")
    """)
    assert out == "end\n"


@pytest.mark.usefixtures("object_file")
def test_a_second_process_compiles_nothing() -> None:
    body = """
    cache.fingerprint()
    launch(block("test_count", 100, 1, counts))
    print(cache.stats.hits, cache.stats.misses)
    """
    run_python(body)
    assert run_python(body).split() == ["1", "0"]
