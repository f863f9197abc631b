"""One test and its interval, a family of tests, and which claims two encoders are asked about."""

import math
from typing import Any

import pytest
from scipy import stats

from probing.claims import outcomes
from probing.claims.catalogue import NSP_PAIR_CLAIMS, PAIR_CLAIMS, pair_claims
from probing.claims.outcomes import Decision, decided

FREEDOMS = (math.inf, 4.0)


def _law(freedom: float) -> Any:
    return stats.norm if math.isinf(freedom) else stats.t(freedom)


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_a_test_is_that_of_scipy(freedom: float) -> None:
    law = _law(freedom)
    test = outcomes.Test(effect=-0.05, error=0.02, freedom=freedom)
    assert test.p == pytest.approx(2 * law.sf(2.5))
    shifted = outcomes.Test(effect=-0.05, error=0.02, freedom=freedom, threshold=-0.01)
    assert shifted.p == pytest.approx(2 * law.sf(2))
    assert outcomes.Test(effect=0.05, error=0.02, freedom=freedom, threshold=0.01).p == shifted.p
    assert test.interval(0.05) == pytest.approx(
        (-0.05 - 0.02 * law.isf(0.025), -0.05 + 0.02 * law.isf(0.025))
    )
    # two one-sided tests: the nearer end of the region decides
    small = outcomes.Test(effect=0.004, error=0.002, freedom=freedom)
    nearer, farther = law.sf((0.01 - 0.004) / 0.002), law.sf((0.01 + 0.004) / 0.002)
    assert small.negligible_p(0.01) == pytest.approx(max(nearer, farther))
    assert outcomes.Test(effect=-0.004, error=0.002, freedom=freedom).negligible_p(
        0.01
    ) == pytest.approx(nearer)
    assert test.negligible_p(0.01) > 0.9
    assert math.isnan(shifted.negligible_p(0.01))


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_a_test_without_error_or_without_value(freedom: float) -> None:
    for effect, p, inside in ((0.0, 1.0, 0.0), (0.005, 0.0, 0.0), (-0.02, 0.0, 1.0)):
        test = outcomes.Test(effect=effect, error=0.0, freedom=freedom)
        assert (test.p, test.negligible_p(0.01)) == (p, inside)
        assert test.interval(0.05) == (effect, effect)
    assert outcomes.Test(effect=0.01, error=0.0, freedom=freedom).negligible_p(0.01) == 0.5
    for effect, error in ((math.nan, 0.1), (0.1, math.nan)):
        test = outcomes.Test(effect=effect, error=error, freedom=freedom)
        assert math.isnan(test.p)
        assert math.isnan(test.negligible_p(0.01))


def test_a_family_is_corrected_by_holm() -> None:
    tests = [
        outcomes.Test(effect=-0.05, error=0.01, freedom=math.inf),
        outcomes.Test(effect=0.0005, error=0.002, freedom=math.inf),
        outcomes.Test(effect=0.019, error=0.01, freedom=math.inf),
        outcomes.Test(effect=math.nan, error=math.nan, freedom=math.inf),
    ]
    large, small, middle, undefined = decided(tests, 0.01)
    assert [(d.rejected, d.negligible) for d in (large, small, middle, undefined)] == [
        (True, False),
        (False, True),
        (False, False),
        (False, False),
    ]
    assert large.corrected_p == pytest.approx(3 * tests[0].p)
    # 0.0574 alone; with Holm twice that, the last of three
    assert middle.corrected_p == pytest.approx(2 * tests[2].p)
    assert small.corrected_p == pytest.approx(tests[1].p)
    assert small.negligible_p == pytest.approx(3 * tests[1].negligible_p(0.01))
    assert (large.lower, large.upper) == tests[0].interval(0.05 / 3)
    assert large.level == pytest.approx(1 - 0.05 / 3)
    # of two one-sided tests at 5 % a third, the interval is at 1 - 2 * 5 % / 3
    assert (small.lower, small.upper) == pytest.approx(tests[1].interval(2 * 0.05 / 3))
    assert small.level == pytest.approx(1 - 2 * 0.05 / 3)
    assert -0.01 < small.lower < small.upper < 0.01
    assert math.isnan(undefined.lower)
    assert math.isnan(undefined.upper)


def test_a_decision_has_its_interval_in_order() -> None:
    shared: dict[str, Any] = {
        "negligible": False,
        "rejected": False,
        "level": 0.95,
        "corrected_p": 1.0,
        "negligible_p": 1.0,
    }
    Decision(lower=0.1, upper=0.1, **shared)
    with pytest.raises(ValueError, match=r"lower 0\.2 is above upper 0\.1"):
        Decision(lower=0.2, upper=0.1, **shared)


def _record(objective: str | None, **changes: Any) -> dict[str, Any]:
    config = {"seed": 0} if objective is None else {"seed": 0, "objective": objective}
    shared = {"config": config, "sources": ["wiki"], "tokens": 7, "bfloat16": True, "loss": 1.0}
    return shared | changes


def test_two_encoders_differ_in_next_sentences_where_their_records_say_so() -> None:
    with_it, without = _record("mlm+nsp"), _record("mlm")
    records: dict[str, Any] = {
        "mlm": without,
        "nsp": with_it,
        "also nsp": with_it | {"loss": 2.0},
        "none": None,
        "empty": {},
        "no config": {"sources": ["wiki"], "tokens": 7, "bfloat16": True},
        "no objective": _record(None),
        "other seed": _record("mlm+nsp", config={"seed": 1, "objective": "mlm+nsp"}),
        "other sources": with_it | {"sources": ["books"]},
        "other tokens": with_it | {"tokens": 8},
        "other precision": with_it | {"bfloat16": False},
        "sop": _record("mlm+sop"),
    }
    assert pair_claims(records, [("mlm", "nsp")]) is NSP_PAIR_CLAIMS
    assert pair_claims(records, [("mlm", "nsp"), ("mlm", "also nsp")]) is NSP_PAIR_CLAIMS
    assert pair_claims(records, []) is PAIR_CLAIMS
    assert pair_claims(records, [("mlm", "nsp"), ("nsp", "mlm")]) is PAIR_CLAIMS
    for other in records.keys() - {"nsp", "also nsp"} | {"not there"}:
        assert pair_claims(records, [("mlm", other)]) is PAIR_CLAIMS
        assert pair_claims(records, [(other, "mlm")]) is PAIR_CLAIMS
