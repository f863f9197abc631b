"""`probing choose` from a file to a folder for sentence-transformers."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import probing
from probing.commands.main import main
from probing.errors import InputError
from probing.tasks import LabelledSentences, TaggedSentences
from tests.test_decoders import tuned_with
from tests.warm_process import completed

SENTENCES = ["A cat.", "The big red dog sat on the mat.", "cat " * 90, "Dogs run; cats sleep."]


@pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("view", ["mean@6", "cls@2", "pooler@6", "pooler_dense@6", "max@1"])
def test_an_exported_folder_gives_the_vectors_of_the_view(view: str, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    encoder = probing.load_encoder("minilm-nsp")
    folder = probing.export_view(encoder, view, tmp_path / "out")
    found = library.SentenceTransformer(str(folder), device="cpu").encode(SENTENCES)
    expected = probing.extract(encoder, SENTENCES)[view]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_middle_layer_is_exported_right_or_refused(
    family: str, tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    """A final norm after the last block would change a middle layer: then nothing is written."""
    library = pytest.importorskip("sentence_transformers")
    encoder = probing.load_encoder(tiny_encoder_folder(family))
    out = tmp_path / "out"
    if family != "bert":
        with pytest.raises(InputError, match="final norm"):
            probing.export_view(encoder, "mean@1", out)
        assert not list(tmp_path.glob("*out*"))
        return
    probing.export_view(encoder, "mean@1", out)
    found = library.SentenceTransformer(str(out), device="cpu").encode(SENTENCES)
    np.testing.assert_allclose(found, probing.extract(encoder, SENTENCES)["mean@1"], atol=1e-5)


@pytest.mark.parametrize("view", ["mean_words@2", "mean@1+2", "cls@1,2"])
def test_what_sentence_transformers_cannot_express_is_refused(view: str, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    encoder = probing.load_encoder("minilm-nsp")
    with pytest.raises(InputError, match=r"pools one layer by cls, last, max, mean"):
        probing.export_view(encoder, view, tmp_path / "out")


def test_an_occupied_folder_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        probing.export_view(probing.load_encoder("minilm-nsp"), "mean@6", tmp_path)


@pytest.mark.slow
def test_choosing_for_pairs_and_for_labelled_sentences(
    tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    encoder = probing.load_encoder(tiny_encoder_folder("bert"))
    choice = probing.choose(encoder, "sts-mini", cache_dir=tmp_path, n_resamples=200)
    task = probing.load_task("sts-mini")
    vectors = probing.extract(encoder, [*task.sentences1, *task.sentences2])
    cosines = probing.cosine_similarities(vectors, [choice.best])
    assert choice.table["value"].iloc[0] == pytest.approx(
        probing.spearman(cosines, task.scores)[0], abs=1e-6
    )
    n = 60
    words = ["cat", "storm"]
    labelled = LabelledSentences(
        name="mine",
        sentences=tuple(f"The {words[i % 2]} was seen {i} times." for i in range(n)),
        labels=tuple(words[i % 2] for i in range(n)),
        splits=("",) * n,
        origin="here",
    )
    read = probing.choose(encoder, labelled, cache_dir=tmp_path, n_resamples=200)
    assert read.measure == "accuracy of the linear probe"
    assert read.table["value"].iloc[0] == 1
    words_of_a_sentence = TaggedSentences(
        name="words",
        sentences=(("A", "cat"),),
        tags=(("DET", "NOUN"),),
        column="upos",
        splits=("",),
        origin="here",
    )
    with pytest.raises(InputError, match="one vector for each sentence"):
        probing.choose(encoder, words_of_a_sentence, cache_dir=tmp_path)


def test_what_a_checkpoint_was_tuned_for_is_a_usual_view(
    tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    model = tuned_with("max", tiny_encoder_folder("bert"), tmp_path / "tuned")
    choice = probing.choose(str(model), "sts-mini", cache_dir=tmp_path, n_resamples=50)
    assert choice.usual == ("mean@3", "cls@3", "pooler@3", "max@3")


def test_a_class_that_no_probe_has_seen_is_refused(
    tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    path = tmp_path / "mine.tsv"
    rows = [f"the cat sat on mat {n}\t{'ab'[n % 2]}\ttrain" for n in range(20)]
    rows += [f"a dog ran {n}\t{'abc'[n % 3]}\ttest" for n in range(20)]
    path.write_text("\n".join(["sentence\tlabel\tsplit", *rows]), encoding="utf-8")
    with pytest.raises(InputError, match=r"mine.tsv: no row of train has the label 'c'"):
        probing.choose(str(tiny_encoder_folder("bert")), path, cache_dir=tmp_path)


@pytest.mark.slow
def test_a_run_chooses_as_the_function_does(
    tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    model = str(tiny_encoder_folder("bert"))
    study = probing.Study(
        [model], ["sts-mini"], n_resamples=100, n_draws=1, cache_dir=str(tmp_path)
    )
    run = study.run(tmp_path / "run")
    choice = probing.load_run(run.folder).choose()
    direct = probing.choose(model, "sts-mini", cache_dir=tmp_path, n_resamples=100)
    both = choice.table.merge(direct.table, on="view")  # a run has averages of layers too
    np.testing.assert_allclose(both["value_x"], both["value_y"], atol=1e-6)
    assert choice.usual == direct.usual
    with pytest.raises(InputError, match="keeps no items of 'stsb'"):
        run.choose("stsb")


@pytest.mark.slow
def test_the_command_says_what_to_use_in_one_sentence(tmp_path: Path) -> None:
    rows = [f"The cat sat {i} times.\tA cat was sitting {i // 2}.\t{i % 6}" for i in range(40)]
    data = tmp_path / "mine.tsv"
    data.write_text("sentence1\tsentence2\tscore\n" + "\n".join(rows) + "\n")
    command = ["probing", "choose", "--model", "minilm-nsp"]
    command += ["--data", str(data), "--cache-dir", str(tmp_path / "cache")]
    done = completed(command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Use `")
    assert "with 95 % confidence" in done.stdout
    wrong = completed([*command, "--export", str(tmp_path)])
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert "name a new folder" in wrong.stderr or "not installed" in wrong.stderr


def test_only_the_rows_of_a_split_are_chosen_on_and_their_vectors_are_kept(
    tmp_path: Path, tiny_encoder_folder: Callable[[str], Path]
) -> None:
    rows = [f"{'dev' if i % 3 else 'test'}\tthe cat {i}\ta dog {i}\t{i % 6}" for i in range(60)]
    data, kept = tmp_path / "mine.tsv", tmp_path / "vectors"
    data.write_text("split\tsentence1\tsentence2\tscore\n" + "\n".join(rows) + "\n")
    model = str(tiny_encoder_folder("bert"))
    for split, n in (("dev", 40), ("test", 20), (None, 60)):
        choice = probing.choose(model, data, split=split, cache_dir=kept, n_resamples=20, seed=3)
        assert choice.n_items == n
    assert any(path.is_file() for path in kept.rglob("*"))


def test_nothing_that_was_asked_for_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*options: str) -> str:
        command = ["probing", "choose", "--model", "minilm", "--data", "sts-mini", *options]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        shown = capsys.readouterr()
        assert shown.out == ""  # before the work
        return shown.err

    assert "--view is the view to export" in refused("--view", "mean@2")
    assert "'mean@99'" in refused("--view", "mean@99", "--export", str(tmp_path / "new"))
    encoder = probing.load_encoder("minilm")
    with pytest.raises(InputError, match="max_length is for a model that is loaded here"):
        probing.choose(encoder, "sts-mini", max_length=8)
    with pytest.raises(InputError, match="seed -1: expected a whole number from 0"):
        probing.choose(encoder, "sts-mini", seed=-1)
