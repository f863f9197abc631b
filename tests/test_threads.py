"""Work that is shared out over threads: the order, errors, and which threads."""

import multiprocessing
import threading
from collections.abc import Iterator

import pytest
import torch

from probing.threads import in_threads


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(in_threads(lambda number: number**2, range(50))) == [n**2 for n in range(50)]
    assert list(in_threads(str, [])) == []


def test_each_call_takes_the_same_threads_and_torch_has_one_in_each() -> None:
    both = threading.Barrier(2)

    def look(_: int) -> tuple[int, int]:
        both.wait(timeout=10)
        return threading.get_ident(), torch.get_num_threads()

    first, second = set(in_threads(look, range(8))), set(in_threads(look, range(8)))
    assert first == second
    assert len(first) == 2
    assert threading.get_ident() not in {ident for ident, _ in first}
    assert {n_threads for _, n_threads in first} == {1}


def test_an_error_reaches_the_caller_and_the_next_call_works() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 / (number - 3), range(50)))
    assert list(in_threads(str, range(3))) == ["0", "1", "2"]


def test_few_items_are_taken_ahead_and_none_after_the_caller_stopped() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    results = in_threads(str, items())
    assert next(results) == "0"
    results.close()
    assert len(taken) < 10


def test_work_within_the_work_goes_on_in_its_own_thread() -> None:
    inner = list(in_threads(lambda n: list(in_threads(str, range(n))), range(6)))
    assert inner == [[str(i) for i in range(n)] for n in range(6)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)
def test_a_forked_process_has_threads_of_its_own() -> None:
    list(in_threads(str, range(4)))
    process = multiprocessing.get_context("fork").Process(
        target=lambda: list(in_threads(str, range(4)))
    )
    process.start()
    process.join(timeout=30)
    hangs = process.is_alive()
    process.kill()
    assert not hangs
    assert process.exitcode == 0
