"""Views that are read when they are asked for, and not before."""

import pytest

from probing.encoding.lazy import LazyViews
from probing.errors import InputError


def test_a_view_is_read_each_time_it_is_asked_for_and_not_before() -> None:
    read: list[str] = []

    def rows(view_id: str) -> str:
        read.append(view_id)
        return view_id.upper()

    views = LazyViews(["mean@1", "cls@1"], rows)
    assert list(views) == ["mean@1", "cls@1"]
    assert (len(views), "cls@1" in views, "cls@2" in views) == (2, True, False)
    assert read == []
    assert dict(views) == {"mean@1": "MEAN@1", "cls@1": "CLS@1"}
    assert views["cls@1"] == "CLS@1"
    assert read == ["mean@1", "cls@1", "cls@1"]
    with pytest.raises(InputError, match="no view 'cls@2' here: expected one of mean@1, cls@1"):
        views["cls@2"]
    assert len(read) == 3
