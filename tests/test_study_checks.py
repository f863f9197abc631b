"""What a study takes and refuses before anything is measured, and what its manifest says of it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

import probing
from probing.claims.catalogue import CLAIMS
from probing.encoding.encoder import Encoder, load_encoder
from probing.encoding.vector_sources import VectorSource, from_arrays, from_function
from probing.errors import InputError
from probing.similarity.own_transforms import own_transform_similarities
from probing.study import running, unscored
from probing.study.brought import (
    checked_model_name,
    load_model,
    load_named,
    load_object,
    named_transforms,
    probe_name,
)
from probing.study.labelled import erasable
from probing.study.settings import HIGHEST_SEED, Settings
from probing.study.study import Study
from probing.study.unscored import (
    Unscored,
    development_pairs,
    supervision,
    whitening_sentences,
    without_pairs,
)
from probing.tasks import LabelledSpans
from tests.test_study import HEADER, write_data
from tests.test_study_rows import labelled

STUDY = Study(models=("minilm",), tasks=("sts-mini",))


def lengths(sentences: Sequence[str]) -> np.ndarray:
    return np.array([[len(sentence), 1.0] for sentence in sentences])


def claim(view: str = "mean@{last} - mean@0", **more: Any) -> probing.Claim:
    return probing.Claim(**{"id": "X", "sentence": "mine", "view": view, **more})


class LikeSentenceTransformer:
    """What a ``SentenceTransformer`` shows, and callable as it is."""

    def __call__(self, _: Sequence[str]) -> np.ndarray:
        raise AssertionError("expected encode to be called")

    def encode(self, sentences: Sequence[str], **settings: Any) -> np.ndarray:
        assert settings == {"convert_to_numpy": True, "show_progress_bar": False}
        return lengths(sentences)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"weight": torch.ones(2)}


class Halved:
    def __call__(self, vectors: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return lambda rows: rows / abs(vectors).max()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"models": ()}, "at least one model and one task"),
        ({"tasks": ()}, "at least one model and one task"),
        ({"models": ("minilm", "minilm-nsp", "minilm")}, "'minilm' is named twice"),
        ({"tasks": ("stsb", "stsb")}, "'stsb' is named twice"),
        ({"tasks": (labelled(), labelled())}, "'animals' is named twice"),
        ({"seed": -1}, "seed -1: expected a whole number from 0 to 4294967295"),
        ({"seed": HIGHEST_SEED + 1}, "seed 4294967296: expected"),
        ({"n_seeds": 0}, "0 seeds starting at 0: expected one or more"),
        ({"seed": HIGHEST_SEED, "n_seeds": 2}, "the last at most 4294967295"),
        ({"n_draws": 0}, "0 draws of random weights"),
        ({"smallest_effect": 0.0}, "smallest effect of interest 0.0: expected more than 0"),
        ({"smallest_effect": float("nan")}, "smallest effect of interest nan"),
        ({"models": ("one - other",)}, "stands for a difference"),
        ({"models": ("minilm+random",)}, "that of a control or a floor"),
        ({"models": ("floor:mine",)}, "that of a control or a floor"),
        ({"contrasts": (("minilm", "minilm-nsp"),)}, "'minilm-nsp' is to be compared but is none"),
        ({"data_dir": 3}, "data_dir is 3: expected a folder"),
        ({"score_range": "any"}, "score_range is 'any': expected (lowest, highest), or None"),
        ({"score_range": (5.0, 0.0)}, "score_range is (5.0, 0.0): expected (lowest, highest)"),
        ({"probes": ()}, "unknown probe of no name"),
        ({"probes": ("linear", "forest")}, "unknown probe forest: expected one or more of linear,"),
        ({"probes": (StandardScaler(),)}, "expected a name or a scikit-learn classifier"),
        ({"probes": (Ridge(), Ridge(alpha=2))}, "probe 'Ridge' is in the study twice"),
        ({"claims": (CLAIMS[0], CLAIMS[0])}, "claim 'C1' is in the study twice"),
        ({"views": ("mean@one",)}, "mean@one"),
        ({"protocol": "nonsense"}, "nonsense"),
        ({"poolings": {"mean": len}}, "one of the project's own"),
        ({"transforms": {"raw": len}}, "under a name of its own"),
        ({"models": "minilm"}, "models of a study is of type str: expected a list"),
        ({"tasks": {"sts-mini"}}, "tasks of a study is of type set: expected a list"),
        ({"tasks": (None,)}, "a task of type NoneType: expected a name, a file or a task"),
        ({"views": None}, "views of a study is of type NoneType: expected a list"),
        ({"transforms": "raw"}, "transforms is 'raw': expected a list of functions"),
        ({"transforms": (lengths, lengths)}, "two transforms are called 'lengths'"),
        ({"poolings": None}, "poolings of type NoneType: expected a dict"),
        ({"claims": ("C1",)}, "a claim of type str: expected a probing.Claim"),
        ({"contrasts": ("minilm - minilm",)}, "expected the names of two different models"),
        ({"contrasts": (("minilm", "minilm"),)}, "expected the names of two different models"),
        (
            {"models": ("a", "b"), "contrasts": (("a", "b"),) * 2},
            "contrast 'a - b' is in the study twice",
        ),
        ({"claims": (claim(threshold=float("nan")),)}, "claim 'X': threshold nan is no fraction"),
        ({"claims": (claim(threshold=50),)}, "threshold 50 is no fraction between -1 and 1; 5 poi"),
        ({"claims": (claim(threshold="5"),)}, "claim 'X': threshold '5' is no fraction"),
        ({"claims": (claim(view="mean@{last.first}"),)}, "has braces around something other"),
        ({"claims": (claim(view=None),)}, "has braces around something other"),
        ({"claims": (claim(view=""),)}, "claim 'X': '' is not the id of a view"),
        ({"claims": (claim(view="mean@6 -"),)}, "claim 'X': 'mean@6 -' is not the id of a view"),
        ({"claims": (claim(view="mean@{first} - cls@0"),)}, "has braces around something other"),
        ({"claims": (claim(view="mean@{last"),)}, "has braces around something other"),
        ({"claims": (claim(view="mean@6 - mean@6"),)}, "'mean@6 - mean@6' is no difference of"),
        ({"claims": (claim(view="a - b - c"),)}, "'a - b - c' is no difference of two"),
        ({"claims": (claim(view="mean@6"),)}, "claim 'X' compares nothing: expected a difference"),
        ({"seed": "0"}, "seed '0': expected a whole number"),
        ({"n_resamples": 0}, "0 resamples: expected a whole number"),
        ({"smallest_effect": None}, "smallest_effect is None: expected a number"),
    ],
)
def test_a_study_that_cannot_be_measured_is_refused_at_once(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError) as raised:
        replace(STUDY, **changes)
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_ends_of_what_is_allowed() -> None:
    replace(STUDY, seed=HIGHEST_SEED)
    replace(STUDY, seed=HIGHEST_SEED - 1, n_seeds=2)
    replace(STUDY, n_draws=1, smallest_effect=1e-9)
    replace(STUDY, models=("a", "b"), contrasts=[("a", "b")])
    replace(
        STUDY, claims=(claim(threshold=-0.99), claim("mean@6", probe="regression - cosine", id="Y"))
    )
    replace(STUDY, claims=(claim("told by a function", measure=list),))


def test_a_study_is_described_by_names() -> None:
    study = Study(
        models=["minilm", Path("mine"), lengths, VectorSource("table", lengths, "r")],
        tasks=["stsb", labelled()],
        probes=["mlp", LogisticRegression()],
        poolings={"half": len},  # type: ignore[dict-item]
        transforms=["raw", lengths, Halved()],  # type: ignore[list-item]
        claims=CLAIMS[:2],
        views=["mean@0+1"],
        seed=3,
    )
    told = study.describe()
    assert json.loads(json.dumps(told)) == {
        "models": ["minilm", "mine", "lengths", "table"],
        "tasks": ["stsb", "animals"],
        "protocol": study.protocol,
        "data_dir": None,
        "dtype": "float32",
        "seed": 3,
        "n_resamples": 1000,
        "probes": ["mlp", "LogisticRegression"],
        "controls": False,
        "n_seeds": 1,
        "n_draws": 5,
        "smallest_effect": 0.01,
        "same_source": False,
        "cache_dir": None,
        "contrasts": [],
        "corpus": None,
        "poolings": ["half"],
        "views": ["mean@0+1"],
        "transforms": ["lengths", "Halved"],
        "claims": ["C1", "C2"],
        "device": None,
        "revision": None,
        "max_length": None,
        "batch_tokens": None,
        "score_range": [0.0, 5.0],
        "weights": "safetensors",
        "erase": [],
    }
    assert isinstance(study.models, tuple)


# what is brought


def test_a_model_is_what_gives_vectors(
    tiny_encoder_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tiny_encoder_folder("bert")
    loaded = load_model(str(folder), dtype="float32", poolings={})
    assert isinstance(loaded, Encoder)
    assert load_model(loaded, dtype="float32", poolings={}) is loaded

    def twice(hidden: Any, mask: Any) -> Any:
        return (hidden * mask[:, :, None]).sum(1)

    more = load_model(loaded, dtype="float32", poolings={"twice": twice})
    assert [*more.poolings] == [*loaded.poolings, "twice"]
    more = load_model(folder, dtype="float32", poolings={"twice": twice})
    assert "twice" in more.poolings
    assert str(load_model(str(folder), dtype="bfloat16", poolings={}).dtype) == "torch.bfloat16"
    source = load_model(lengths, dtype="float32", poolings={})
    assert isinstance(source, VectorSource)
    assert source.name == "lengths"
    assert load_model(source, dtype="float32", poolings={}) is source
    file = tmp_path / "mine.npz"
    np.savez(file, sentences=np.array(["a", "b"]), vectors=np.eye(2))
    assert isinstance(load_model(str(file), dtype="float32", poolings={}), VectorSource)
    tuned = load_model(LikeSentenceTransformer(), dtype="float32", poolings={})
    assert tuned.name == "sentence-transformer"
    assert tuned(["abc"])["vectors"].tolist() == [[3.0, 1.0]]
    with pytest.raises(InputError, match="a model of type int: expected an alias"):
        load_model(3, dtype="float32", poolings={})


def test_a_sentence_that_repeats_has_one_vector() -> None:
    vectors = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    saved = from_arrays("saved", ["a", "b", "a"], {"mean@2": vectors})
    assert saved(["a"])["mean@2"].tolist() == [[1.0, 2.0]]
    with pytest.raises(InputError, match="'a'"):
        from_arrays("saved", ["a", "b", "a"], {"mean@2": vectors + np.arange(3)[:, None]})


def test_pairs_are_resampled_as_the_study_says(official: Path) -> None:
    pairs = probing.load_task("stsb", official)
    target = Settings(seed=7, n_resamples=20, cache_dir=None, device="cuda:1").target(pairs)
    assert (target.seed, target.n_resamples, target.device) == (7, 20, "cuda:1")
    assert (target.task, target.split) == ("stsb", "test")


def test_names_that_read_as_something_else_are_refused() -> None:
    checked_model_name("all-MiniLM-L6-v2")
    for name in ("a - b", "a+random", "floor:a"):
        with pytest.raises(InputError, match="rename the folder"):
            checked_model_name(name)


def test_the_name_of_a_probe() -> None:
    assert probe_name("anything") == "anything"
    assert probe_name(Ridge()) == "Ridge"
    assert probe_name(LogisticRegression()) == "LogisticRegression"
    for strange in (StandardScaler(), 3, None):
        with pytest.raises(InputError, match="expected a name or a scikit-learn classifier"):
            probe_name(strange)


def test_transforms_go_by_their_names() -> None:
    halved = Halved()
    assert named_transforms(["raw", lengths, "raw", halved]) == {  # type: ignore[list-item]
        "lengths": lengths,
        "Halved": halved,
    }
    assert named_transforms({"mine": halved}) == {"mine": halved}
    assert named_transforms(["raw"]) == {}
    with pytest.raises(InputError, match="transform 'whitened': the project's own are always"):
        named_transforms(["whitened"])


def test_an_object_is_found_by_module_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["elsewhere"])
    (tmp_path / "brought_here.py").write_text("mine = 7\nother = 8\n", encoding="utf-8")
    (tmp_path / "brought_broken.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "brought_lacking.py").write_text("import not_installed\n", encoding="utf-8")
    assert load_object("brought_here:mine", kind="probe") == 7
    assert load_named(["brought_here:mine", "brought_here:other"], kind="probe") == {
        "mine": 7,
        "other": 8,
    }
    with pytest.raises(InputError, match="two of --probe are called 'mine'"):
        load_named(["brought_here:mine", "brought_broken:mine"], kind="probe")
    import sys

    assert sys.path == [str(tmp_path), "elsewhere"]
    for text, reason in (
        ("brought_here", "probe 'brought_here': expected module:name, such as my_study:probe"),
        (":mine", "expected module:name"),
        ("brought_here:", "expected module:name"),
        ("not_here_at_all:x", "no module named 'not_here_at_all'; expected a file not_here_at_all"),
        ("brought_lacking:x", "no module named 'not_installed'"),
        ("brought_broken:x", "importing brought_broken failed (ZeroDivisionError: division"),
        ("brought_here:lost", "brought_here has no 'lost'"),
    ):
        with pytest.raises(InputError) as raised:
            load_object(text, kind="probe")
        assert reason in str(raised.value)


# what belongs to the tasks of a study


@pytest.fixture
def official(tmp_path: Path) -> Path:
    rows = [
        f"{split}\tall\t{score}\tthe cat {score}\ta dog {score}"
        for split in ("train", "dev", "test")
        for score in range(4)
    ]
    return write_data(tmp_path / "data", "\n".join([HEADER, *rows]))


def test_a_layer_is_chosen_on_dev_pairs_that_are_not_scored(
    official: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = probing.load_task("stsb", official, split="dev")
    assert isinstance(task, probing.SentencePairs)
    # the first pair is scored, the other way round and in capitals
    one, other = task.sentences2[0].upper(), f" {task.sentences1[0]} "
    scored = replace(
        task, name="other", sentences1=(one,), sentences2=(other,), scores=task.scores[:1]
    )

    def chosen(names: Sequence[str], tasks: Sequence[Any], fewest: int) -> tuple[str, str, int]:
        monkeypatch.setattr(unscored, "FEWEST_PAIRS", fewest)
        found = development_pairs(names, tasks, str(official), STUDY.protocol)
        return found.name, found.split, len(found)

    assert chosen(["sts-mini", "stsb"], [], 4) == ("stsb", "dev", 4)
    assert chosen(["stsb"], [scored, labelled()], 3) == ("stsb", "dev", 3)
    for names, tasks, fewest in (
        (["stsb"], [], 5),
        (["stsb"], [scored], 4),
        (["stsb"], [task], 1),
        (["sts12"], [], 1),
        (["animals"], [], 1),
    ):
        assert chosen(names, tasks, fewest)[:2] == ("sts-mini", "dev")
    mini = probing.load_task("sts-mini", split="dev")
    with pytest.raises(InputError, match="no pairs are left to choose a layer on"):
        chosen(["sts-mini"], [mini], 1)


def test_what_is_left_of_pairs_keeps_what_belongs_to_it() -> None:
    task = probing.SentencePairs(
        name="t",
        sentences1=("a", "b", "c"),
        sentences2=("d", "e", "f"),
        scores=np.array([1.0, 2.0, 3.0]),
        score_range=(0, 5),
        split="dev",
        origin="",
        subsets=("x", "y", "z"),
        groups=("1", "2", "3"),
        remark="Short.",
    )
    left = without_pairs(task, {frozenset(("b", "e"))})
    assert left is not None
    assert (left.sentences1, left.sentences2) == (("a", "c"), ("d", "f"))
    assert (left.scores.tolist(), left.subsets, left.groups) == ([1, 3], ("x", "z"), ("1", "3"))
    assert left.remark == "Short. 1 of 3 pairs left out: they are scored in this run."
    assert without_pairs(task, {frozenset(("a", "e"))}) is task
    bare = without_pairs(replace(task, subsets=None, groups=None), {frozenset(("b", "e"))})
    assert bare is not None
    assert (bare.subsets, bare.groups) == (None, None)
    every = {frozenset(pair) for pair in (("a", "d"), ("b", "e"), ("c", "f"))}
    assert without_pairs(task, every) is None


def test_a_readout_is_supervised_where_the_task_has_train_and_dev(
    official: Path, tmp_path: Path
) -> None:
    task = probing.load_task("stsb", official)
    assert isinstance(task, probing.SentencePairs)
    where = (str(official), STUDY.protocol)
    found = supervision(task, *where)
    assert found is not None
    assert (found.train.split, found.development.split) == ("train", "dev")
    assert supervision(replace(task, name="sts12"), *where) is None
    assert supervision(replace(task, split="dev"), *where) is None
    assert supervision(labelled(), *where) is None
    lacking = write_data(tmp_path / "other", f"{HEADER}\ntest\tall\t1\tthe cat\ta dog\n")
    assert supervision(task, str(lacking), STUDY.protocol) is None
    whole = Unscored.of(["stsb", "animals"], [task, labelled()], *where)
    assert whole.supervision.keys() == {"stsb", "animals"}
    assert whole.supervision["stsb"] is not None
    assert whole.supervision["animals"] is None
    assert whole.development.name == "sts-mini"
    assert len(whole.whitening) == 8


def test_whitening_is_fitted_on_training_sentences(
    official: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {f"{text} {score}" for text in ("the cat", "a dog") for score in range(4)}
    for names in (["stsb"], ["animals"]):
        found = whitening_sentences(names, str(official), STUDY.protocol)
        assert set(found) == expected
        assert len(found) == 8
    monkeypatch.setenv("PROBING_DATA", str(official))
    assert set(whitening_sentences([], None, STUDY.protocol)) == expected
    monkeypatch.delenv("PROBING_DATA")
    assert whitening_sentences(["sts-mini"], None, STUDY.protocol) == ()


def test_pairs_to_fit_on_are_those_of_the_protocol(
    official: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def loaded(name: str, data_dir: str, **how: str) -> probing.SentencePairs:
        seen.append((name, data_dir, how))
        task = probing.load_task(name, data_dir, split=how["split"])
        assert isinstance(task, probing.SentencePairs)
        return task

    task = probing.load_task("stsb", official)
    monkeypatch.setattr(unscored, "load_task", loaded)
    supervision(task, str(official), "senteval")
    assert seen == [
        ("stsb", str(official), {"split": split, "protocol": "senteval"})
        for split in ("train", "dev")
    ]


def test_probes_are_fitted_on_the_gpu_of_an_encoder(
    tiny_encoder_folder: Callable[[str], Path],
) -> None:
    encoder = load_encoder(tiny_encoder_folder("bert"))
    for device, wanted in (("cuda:1", "cuda:1"), ("mps", "cpu"), ("cpu", "cpu")):
        elsewhere = replace(encoder, device=torch.device(device))
        assert running.device_of([VectorSource("table", len, "r"), elsewhere]) == wanted


def test_two_tasks_of_one_name_are_told_by_their_origins() -> None:
    one, other = replace(labelled(), origin="here"), replace(labelled(), origin="there")
    running.check_task_names([one, replace(other, name="other")])
    with pytest.raises(InputError, match=r"two tasks are called 'animals' \(here; there\)"):
        running.check_task_names([one, other])


def test_a_protocol_shortens_what_is_longer(tiny_encoder_folder: Callable[[str], Path]) -> None:
    encoder = load_encoder(tiny_encoder_folder("bert"))
    for limit, kept in ((None, 48), (48, 48), (64, 48), (47, 47)):
        shorter = running.shortened(encoder, limit)
        assert isinstance(shorter, Encoder)
        assert shorter.max_length == kept
    source = VectorSource("table", lengths, "r")
    assert running.shortened(source, 4) is source
    with pytest.raises(InputError, match="table cannot be compared view by view"):
        running.compared(source)
    assert running.compared(encoder) is encoder
    assert running.twins_of(source, 0) == ()
    (twin,) = running.twins_of(encoder, 5)
    assert twin.name == f"{encoder.name}+random"


@pytest.mark.parametrize(
    ("program", "called"),
    [
        ("/somewhere/bin/probing", "probing"),
        ("/somewhere/probing/__main__.py", "probing"),
        ("/somewhere/study.py", "study.py"),
    ],
)
def test_the_command_is_told_without_the_place_of_the_program(
    program: str, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [program, "run", "--seed", "1"])
    assert running.this_command() == [called, "run", "--seed", "1"]


@pytest.mark.parametrize(
    ("rows", "vectors", "reason"),
    [
        (["yes", "no"], np.eye(2) * 1j, "of complex128"),
        (["yes", "no"], np.array([["1", "2"], ["3", "4"]]), "of <U1"),
        (["yes", "no"], np.full((2, 2), 1e39), "finite in float32"),
        (["yes", "no"], torch.eye(2, requires_grad=True), "requires grad"),
    ],
)
def test_vectors_that_are_no_numbers_are_refused(
    rows: list[str], vectors: Any, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        from_function(lambda _: vectors, "mine")(rows)


def test_a_sentence_has_one_vector() -> None:
    from_arrays("mine", ["yes", "yes"], {"mean@1": np.ones((2, 2))})
    with pytest.raises(InputError, match="'yes' has one vector in row 0 and another in row 1"):
        from_arrays("mine", ["yes", "yes"], {"mean@1": np.eye(2)})


def test_a_transform_cannot_spoil_the_vectors() -> None:
    def centring(vectors: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        vectors -= vectors.mean(axis=0)
        return lambda rows: np.multiply(rows, 2, out=rows)

    vectors = {"mean@1": np.arange(8, dtype=np.float32).reshape(4, 2) ** 2}
    before = vectors["mean@1"].copy()
    own_transform_similarities(vectors, vectors, {"centring": centring}, source="target")
    np.testing.assert_array_equal(vectors["mean@1"], before)


def test_only_labels_of_one_vector_each_can_be_erased() -> None:
    def spans(*of_item: tuple[int, int]) -> LabelledSpans:
        return LabelledSpans(
            name="spans",
            sentences=(("the", "cat", "sat"),) * 2,
            numbers=(0, 1),
            spans=(of_item,) * 2,
            labels=("a", "b"),
            splits=("train", "test"),
            origin="here",
        )

    words, sentences = spans((1, 2)), labelled()
    assert erasable(words) is words
    assert erasable(sentences) is sentences
    both = replace(sentences, sentences2=sentences.sentences)
    for refused in (spans((0, 2)), spans((0, 1), (1, 2)), both):
        with pytest.raises(InputError, match=f"task {refused.name} cannot be erased"):
            erasable(refused)


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".safetensors"])
def test_a_damaged_file_of_vectors_is_one_line(suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, sentences=np.array(["a", "b"]), view=np.eye(2))
    data = whole.read_bytes()
    changed = bytearray(data)
    changed[len(data) // 3 : len(data) // 2] = b"x" * (len(data) // 2 - len(data) // 3)
    for number, damaged in enumerate((b"", data[: len(data) // 2], bytes(changed), b"no vectors")):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read as vectors"):
            probing.read_vectors(path)
