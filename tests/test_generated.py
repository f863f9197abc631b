"""The generated tasks: every label is worked out again here, from the text or the bracketing."""

import hashlib
import itertools
import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from probing.errors import InputError
from probing.tasks.generated import (
    GENERATED_TASKS,
    TASK_CARDS,
    GeneratedSentence,
    Tree,
    Word,
    generate,
    generate_sentences,
    tasks,
)
from probing.tasks.generated.frames import DESCRIPTIONS, FRAMES, MODIFIERS
from probing.tasks.generated.lexicon import Lexicon, all_words
from probing.tasks.generated.tree import indefinite_article, spell
from probing.tasks.generated.words import ADJECTIVES, ADVERBS, NAMES, NOUNS, VERBS

SEEDS = 1000
NEAR_CHANCE = (
    *("bigram_shift", "coordination_inversion", "odd_man_out"),
    *("past_present", "subj_number", "obj_number"),
)

# A reader of bracketings that shares nothing with the grammar: a node is (label, children), a leaf
# is (tag, text).


def parse(bracketing):
    pieces = re.findall(r"[()]|[^\s()]+", bracketing)
    position = 0

    def node():
        nonlocal position
        assert pieces[position] == "("
        label = pieces[position + 1]
        position += 2
        if pieces[position] != "(":
            position += 2
            return label, pieces[position - 2]
        children = []
        while pieces[position] == "(":
            children.append(node())
        assert pieces[position] == ")"
        position += 1
        return label, children

    tree = node()
    assert position == len(pieces)
    return tree


def is_leaf(node):
    return isinstance(node[1], str)


def leaves(node):
    return [node] if is_leaf(node) else [leaf for child in node[1] for leaf in leaves(child)]


def child(node, *labels):
    """The first child with one of the labels, or None."""
    return next((part for part in node[1] if part[0] in labels), None)


def words_of(text):
    """Tokens of a text as it is spelled, in lower case."""
    return re.findall(r"[a-z]+(?:-[a-z]+)*|'s|[.,?]", text.lower())


def head(phrase):
    """The head leaf of a noun phrase: the last word of its innermost first noun phrase."""
    while child(phrase, "NP") and not child(phrase, "NN", "NNS"):
        phrase = child(phrase, "NP")
    return next(leaf for leaf in reversed(phrase[1]) if is_leaf(leaf))


def innermost(predicate):
    """The verb phrase with the lexical verb, inside the phrases of its auxiliaries."""
    while child(predicate, "VP"):
        predicate = child(predicate, "VP")
    return predicate


def lexical_verb(predicate):
    return next(leaf for leaf in innermost(predicate)[1] if leaf[0].startswith("VB"))


# Morphology, from the spelling alone

IRREGULAR_PAST = set(
    """wept ran crept slept sat stood knelt began struck grew spoke ate wore tore drove overtook
    built wrote sang drew hung forgave fed bred bit threw brought bought sold lost found stole kept
    hid saw forgot shook left drank said heard knew thought became felt gave sent showed lent swept
    sewed dreamed lied""".split()  # noqa: SIM905
)
ED_IN_PRESENT = {"feed", "breed"}
IRREGULAR_PLURALS = set(
    """men women children policemen fishermen postmen milkmen salesmen businesswomen congresswomen
    gentlemen mice geese wolves thieves wives calves scarves knives shelves bookshelves theses
    hypotheses""".split()  # noqa: SIM905
)
S_IN_SINGULAR = set(
    """actress princess waitress countess governess walrus dress compass bus minibus thesis
    hypothesis cypress chorus""".split()  # noqa: SIM905
)


def is_past(verb):
    return verb in IRREGULAR_PAST or (verb.endswith("ed") and verb not in ED_IN_PRESENT)


def is_plural(noun):
    return noun in IRREGULAR_PLURALS or (noun.endswith("s") and noun not in S_IN_SINGULAR)


# The ten labels


def length_label(row):
    bins = [(5, 8), (9, 12), (13, 16), (17, 20), (21, 25), (26, 28)]
    length = len(words_of(row.text))
    (label,) = [str(index) for index, (low, high) in enumerate(bins) if low <= length <= high]
    return label


def content_label(row):
    present = Counter(words_of(row.text))
    found = [word for word in TASK_CARDS["word_content"].classes if word in present]
    assert len(found) == 1
    assert present[found[0]] == 1
    return found[0]


def depth_label(row):
    depths = itertools.accumulate(
        {"(": 1, ")": -1}.get(character, 0) for character in row.tree.bracketing()
    )
    return str(max(depths))


def constituents_label(row):
    _, children = parse(row.tree.bracketing())
    return "_".join(label for label, _ in children if label != ",")


def shift_label(row):
    original = [text.lower() for _, text in leaves(parse(row.tree.bracketing()))]
    found = words_of(row.text)
    assert len(found) == len(original)
    moved = [
        place for place, pair in enumerate(zip(found, original, strict=True)) if len(set(pair)) > 1
    ]
    if not moved:
        return "O"
    first, second = moved
    assert second == first + 1
    assert (found[first], found[second]) == (original[second], original[first])
    assert first > 0, "the capital would give the swap away"
    assert not {",", ".", "?"} & {found[first], found[second]}
    return "I"


def tense_label(row):
    tree = parse(row.tree.bracketing())
    tag, verb = lexical_verb(child(tree, "VP"))
    assert child(child(tree, "VP"), "VP") is None, "no auxiliary"
    assert tag == ("VBD" if is_past(verb) else tag.replace("VBD", "?"))
    return "PAST" if is_past(verb) else "PRES"


def subject_label(row):
    _, noun = head(child(parse(row.tree.bracketing()), "NP"))
    return "NNS" if is_plural(noun) else "NN"


def object_label(row):
    predicate = innermost(child(parse(row.tree.bracketing()), "VP"))
    _, noun = head(child(predicate, "NP"))
    return "NNS" if is_plural(noun) else "NN"


BACKWARD = set(
    """he she it they him her them then therefore consequently afterward later too also other
    others""".split()  # noqa: SIM905
)


def inversion_label(row):
    first, _, second = re.fullmatch(r"(.+), (and|but) (.+)\.", row.text).groups()
    clauses = [words_of(first), words_of(second)]
    back = [bool(BACKWARD & set(clause)) or clause[-1] == "not" for clause in clauses]
    if not any(back):
        # "a fox ..., and the fox ...": the clause that begins with "the" takes the fox up.
        for clause, other in (clauses, clauses[::-1]):
            known = re.match(r"(?:a|an) (.*)", " ".join(other))
            back[clauses.index(clause)] = bool(
                clause[0] == "the" and known and clause[1] in known[1].split()[:4]
            )
    assert sum(back) == 1, row.text
    return "O" if back[1] else "I"


# Sense: every argument of every verb and preposition is of a class that makes sense. Read off the
# lists of what makes sense; the generator puts in odd words by its lists of what does not.

CLASS_OF = {
    form: name for name in NOUNS for noun in all_words(name) for form in noun.forms.values()
} | {form.lower(): name for name in NAMES for form in NAMES[name].split()}
FRAME_OF = {
    form: name for name in VERBS for verb in all_words(name) for form in verb.forms.values()
}
PEOPLE = {"worker", "kin", "female_name", "male_name"}
GROUND = {"building", "area", "landmark"}
AFTER_PREPOSITION = {
    "in": {"city", "area", "room", "building", "container", "month"},
    "on": {"weekday", "furniture"},
    "under": {"furniture"},
    "behind": {"building", "furniture"},
    "near": GROUND,
    "beside": GROUND,
    "outside": {"building"},
    "through": GROUND,
    "across": GROUND,
    "into": {"building", "room"},
    "toward": GROUND,
    "past": GROUND,
    "from": {"city", "area"},
    "during": {"event", "daytime"},
    "after": {"event"},
    "before": {"event"},
    "to": PEOPLE,
}


def fits(noun, classes):
    """Whether a head leaf is a pronoun (which fits everywhere) or of one of the classes."""
    tag, text = noun
    found = CLASS_OF.get(text.lower())
    if tag == "PRP" or found is None:
        return True
    return found in classes or (found in PEOPLE and "kin" in classes)


def sensible(node, subject=None, gap=None):
    """Whether a node makes sense with the head of its subject, or of the noun it modifies."""
    if is_leaf(node):
        return True
    label, children = node
    if label == "PP":
        (_, preposition), phrase = children
        allowed = AFTER_PREPOSITION.get(preposition)
        return sensible(phrase) and (allowed is None or fits(head(phrase), allowed))
    if label == "NP" and child(node, "SBAR"):
        inner = child(node, "NP")
        return sensible(inner) and sensible(child(node, "SBAR"), gap=head(inner))
    if label == "SBAR":
        clause = child(node, "S")
        if child(node, "WHNP") and gap and child(clause, "NP") is None:
            return sensible(clause, subject=gap)
        return sensible(clause, gap=gap)
    if label in ("S", "SQ"):
        own = child(node, "NP")
        times = [part for part in children if part[0] == "NP"]
        own = times[-1] if times else own
        parts = [part for part in children if part[0] not in ("VP", "S")]
        agents = {"subject": head_or_none(own) if own else subject}
        inside = [part for part in children if part[0] in ("VP", "S")]
        return all(map(sensible, parts)) and all(
            sensible(part, gap=gap, **agents) for part in inside
        )
    if label == "VP":
        return predicate_is_sensible(node, subject, gap)
    return all(sensible(part) for part in children)


def head_or_none(phrase):
    return None if child(phrase, "CC") else head(phrase)


def predicate_is_sensible(node, subject, gap):
    inner = child(node, "VP")
    if inner:
        be = node[1][0][1] in ("is", "are", "was", "were", "am")
        if be and inner[1][0][0] == "VBN":
            return passive_is_sensible(inner, subject)
        return predicate_is_sensible(inner, subject, gap)
    verbs = [leaf for leaf in node[1] if leaf[0].startswith("VB")]
    rest = [part for part in node[1] if not is_leaf(part)]
    frame = FRAMES.get(FRAME_OF.get(verbs[0][1] if verbs else "", ""))
    if frame:
        if subject and not fits(subject, frame.subject.classes):
            return False
        taken = child(node, "NP")
        target = head_or_none(taken) if taken else gap
        direct = frame.object and "about" not in frame.shape and (taken or gap)
        if direct and target and not fits(target, frame.object.classes):
            return False
    return all(sensible(part, subject=subject) for part in rest if part[0] == "S") and all(
        sensible(part) for part in rest if part[0] != "S"
    )


def passive_is_sensible(node, patient):
    frame = FRAMES[FRAME_OF[lexical_verb(node)[1]]]
    by = [part for part in node[1] if part[0] == "PP" and part[1][0][1] == "by"]
    agents = [head(part[1][1]) for part in by]
    return (
        (patient is None or fits(patient, frame.object.classes))
        and all(fits(agent, frame.subject.classes) for agent in agents)
        and all(sensible(part) for part in node[1])
    )


def oddity_label(row):
    return "O" if sensible(parse(row.tree.bracketing())) else "C"


RECOMPUTED = {
    "sentence_length": length_label,
    "word_content": content_label,
    "tree_depth": depth_label,
    "top_constituents": constituents_label,
    "bigram_shift": shift_label,
    "past_present": tense_label,
    "subj_number": subject_label,
    "obj_number": object_label,
    "odd_man_out": oddity_label,
    "coordination_inversion": inversion_label,
}


@pytest.mark.parametrize("task", GENERATED_TASKS)
def test_every_label_can_be_worked_out_again(task):
    # A sentence of given depth or length takes some drawing, so one for each seed must do.
    sizes = (0, 0, 1) if task in ("tree_depth", "sentence_length") else (1, 0, 1)
    labels = Counter()
    for seed in range(SEEDS):
        for row in generate_sentences(task, seed=seed, sizes=sizes):
            assert RECOMPUTED[task](row) == row.label, (seed, row.text, row.tree.bracketing())
            labels[row.label] += 1
    assert set(labels) == set(TASK_CARDS[task].classes)


# What holds of every task


@pytest.fixture(scope="module")
def made():
    """Every task with its derivations, larger than in the test above."""
    return {task: generate_sentences(task, seed=3, sizes=(140, 70, 98)) for task in GENERATED_TASKS}


@pytest.mark.parametrize("task", GENERATED_TASKS)
def test_splits_are_balanced_and_share_no_sentence(task, made):
    rows = made[task]
    assert Counter(row.split for row in rows) == {"train": 140, "dev": 70, "test": 98}
    for split in ("train", "dev", "test"):
        counts = Counter(row.label for row in rows if row.split == split)
        counts.update(dict.fromkeys(TASK_CARDS[task].classes, 0))
        assert set(counts) == set(TASK_CARDS[task].classes)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert len({row.text.lower() for row in rows}) == len(rows)
    originals = [row for row in rows if row.label == "O"]
    tampered = [row for row in rows if task == "bigram_shift" and row.label == "I"]
    sources = {spell([word.text for word in row.tree.leaves()]) for row in tampered}
    assert not sources & {row.text for row in originals}


@pytest.mark.parametrize("task", GENERATED_TASKS)
def test_classes_stand_in_no_order(task, made):
    labels = [row.label for row in made[task] if row.split == "train"]
    assert labels != sorted(labels)
    changes = sum(first != second for first, second in itertools.pairwise(labels))
    expected = (len(labels) - 1) * (1 - 1 / len(set(labels)))
    assert abs(changes - expected) < 30


@pytest.mark.parametrize("task", [task for task in GENERATED_TASKS if task != "word_content"])
def test_content_words_of_one_split_are_unseen_in_the_others(task, made):
    function_words = set(
        """is are am was were do does did have has had not very rather quite many several other
        others often never always rarely sometimes usually seldom then soon later therefore
        consequently afterward too also having""".split()  # noqa: SIM905
    )
    forms, lemmas = {}, {}
    for split in ("train", "dev", "test"):
        words = [leaf for row in made[task] if row.split == split for leaf in row.tree.leaves()]
        content = {"NN", "NNS", "NNP", "JJ", "RB", "VB", "VBD", "VBG", "VBN", "VBP", "VBZ"}
        forms[split] = {word.text.lower() for word in words if word.tag in content} - function_words
        lemmas[split] = {word.lexeme.lemma.lower() for word in words if word.lexeme}
        assert len(lemmas[split]) > 50
    for one, other in itertools.combinations(forms, 2):
        assert not forms[one] & forms[other]
        assert not lemmas[one] & lemmas[other]


def test_word_content_knows_its_targets_and_not_their_contexts(made):
    rows = made["word_content"]
    by_split = {
        split: {row.text for row in rows if row.split == split} for split in ("train", "test")
    }
    assert not by_split["train"] & by_split["test"]
    for row in rows:
        assert row.tree.leaves()[row.replaced].text == row.label


@pytest.mark.parametrize("task", GENERATED_TASKS)
def test_same_seed_same_task(task):
    first, second = (generate(task, seed=11, sizes=(12, 6, 6)) for _ in range(2))
    assert first == second
    assert first.origin == f"generated:{task}:seed=11"
    assert first.name == f"generated:{task}"
    other = generate(task, seed=12, sizes=(12, 6, 6))
    assert not set(first.sentences) & set(other.sentences)


def test_tasks_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for task in GENERATED_TASKS:
        made = generate(task, seed=0, sizes=(14, 7, 7))
        for row in zip(made.splits, made.labels, made.sentences, strict=True):
            digest.update("\t".join(row).encode() + b"\n")
    assert digest.hexdigest() == "c51997507572c28ca5f8ade9f1c1d96f02e9f80b0413139deafc5625c301abcc"


def test_a_task_is_its_sentences_without_the_derivations(made):
    task = generate("odd_man_out", seed=3, sizes=(140, 70, 98))
    assert task.sentences == tuple(row.text for row in made["odd_man_out"])
    assert task.labels == tuple(row.label for row in made["odd_man_out"])
    assert task.splits == tuple(row.split for row in made["odd_man_out"])
    assert task.sentences2 is None


@pytest.mark.parametrize(
    ("task", "sizes", "message"),
    [
        ("bigram_swap", (1, 1, 1), "unknown generated task 'bigram_swap', expected one of sent"),
        ("bigram_shift", (0, 0, 0), r"\(0, 0, 0\), expected three numbers"),
        ("bigram_shift", (5, -1, 5), r"\(5, -1, 5\), expected three numbers"),
        ("bigram_shift", (5, 5), r"\(5, 5\), expected three numbers"),
    ],
)
def test_bad_requests(task, sizes, message):
    with pytest.raises(InputError, match=message):
        generate(task, sizes=sizes)


def test_more_sentences_than_there_are(monkeypatch):
    monkeypatch.setattr(tasks, "_MOST_TRIES", 1)
    with pytest.raises(InputError, match="ask for fewer than 500"):
        generate("coordination_inversion", sizes=(500, 0, 0))


# English


def phrases(node, label):
    if is_leaf(node):
        return []
    inner = [found for part in node[1] for found in phrases(part, label)]
    return [node, *inner] if node[0] == label else inner


def all_rows(made):
    return [row for task in GENERATED_TASKS for row in made[task]]


def test_articles_agree_with_the_next_word(made):
    long_u = {"useful", "uniform", "union"}
    seen = Counter()
    for row in all_rows(made):
        # The tree, because a swap may part an article from its word.
        text = spell([leaf.text for leaf in row.tree.leaves()])
        for article, word in re.findall(r"\b(an?) ([a-z-]+)", text, re.IGNORECASE):
            vowel = word[0].lower() in "aeiou" and word not in long_u
            assert (article.lower() == "an") == (vowel or word == "honest"), text
            seen[article.lower()] += 1
    assert min(seen["a"], seen["an"]) > 100


def test_determiners_agree_with_their_nouns(made):
    singular = {"a", "an", "this", "every", "each", "another", "one"}
    plural = {"these", "those", "two", "three", "four", "several", "many"}
    seen = Counter()
    for row in all_rows(made):
        for _, children in phrases(parse(row.tree.bracketing()), "NP"):
            nouns = [leaf for leaf in children if leaf[0] in ("NN", "NNS")]
            for _, text in [part for part in children if is_leaf(part)]:
                seen[text] += text in singular | plural
                assert not (text in singular and is_plural(nouns[-1][1])), row.text
                assert not (text in plural and not is_plural(nouns[-1][1])), row.text
    assert {text for text, count in seen.items() if count} == singular | plural


def test_finite_verbs_agree_with_their_subjects(made):
    checked = Counter()
    for row in all_rows(made):
        for clause in phrases(parse(row.tree.bracketing()), "S"):
            subjects = [part for part in clause[1] if part[0] == "NP"]
            predicate = child(clause, "VP")
            if not subjects or predicate is None:
                continue
            tag, verb = predicate[1][0]
            if tag not in ("VBZ", "VBP"):
                continue
            subject = subjects[-1]
            third = False
            if not child(subject, "CC"):
                kind, noun = head(subject)
                many = kind == "NNS" and is_plural(noun)
                third = not many and noun not in ("they", "we", "I")
            assert (tag == "VBZ") == third, row.text
            assert not third or verb.endswith("s"), row.text
            checked[tag] += 1
    assert min(checked.values()) > 100


def test_subjects_objects_and_verbs_are_marked(made):
    for row in made["obj_number"]:
        words = row.tree.leaves()
        tree = parse(row.tree.bracketing())
        predicate = innermost(child(tree, "VP"))
        assert words[row.object].text == head(child(predicate, "NP"))[1]
        assert words[row.main_verb].text == lexical_verb(predicate)[1]
    for row in made["subj_number"]:
        subject = child(parse(row.tree.bracketing()), "NP")
        assert row.tree.leaves()[row.subject].text == head(subject)[1]


def test_text_spells_the_tokens(made):
    for row in all_rows(made):
        assert [token.lower() for token in row.tokens] == words_of(row.text), row.text
        assert row.text[0].isupper()
        assert row.text[-1] in ".?"


# The word lists


def test_no_form_belongs_to_two_words():
    owners = {}
    groups = [*NOUNS, *NAMES, *ADJECTIVES, *ADVERBS, *VERBS]
    assert len(set(groups)) == len(groups)
    for group in groups:
        for word in all_words(group):
            for form in set(word.forms.values()):
                assert owners.setdefault(form.lower(), word) is word, form


def test_frames_and_tables_name_groups_that_exist():
    assert set(FRAMES) == set(VERBS)
    for frame in FRAMES.values():
        for argument in filter(None, (frame.subject, frame.object)):
            assert set(argument.classes) | set(argument.odd) <= {*NOUNS, *NAMES}
            assert not set(argument.classes) & set(argument.odd)
    assert set(DESCRIPTIONS) | set(MODIFIERS) <= set(NOUNS)
    assert {group for groups in DESCRIPTIONS.values() for group in groups} <= set(ADJECTIVES)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_word_is_in_one_split(seed):
    for group in [*NOUNS, *NAMES, *ADJECTIVES, *ADVERBS, *VERBS]:
        parts = [Lexicon(seed=seed, split=split).words(group) for split in ("train", "dev", "test")]
        assert all(parts)
        together = [word.lemma for part in parts for word in part]
        assert sorted(together) == sorted(word.lemma for word in all_words(group))
    assert Lexicon(seed=0, split="dev").words("worker") != Lexicon(seed=7, split="dev").words(
        "worker"
    )


def test_regular_verbs_double_one_final_consonant_after_one_stressed_vowel():
    stressed_at_the_end = {"admit", "begin", "forget", "occur", "prefer"}
    for group in VERBS:
        for verb in all_words(group):
            base, gerund = verb.lemma, verb.forms["VBG"]
            short = re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", base)
            if short or base in stressed_at_the_end:
                assert gerund == f"{base}{base[-1]}ing"
            elif base.endswith("e"):
                assert gerund in (f"{base[:-1]}ing", "lying")
            else:
                assert gerund in (f"{base}ing", f"{base}king")
            assert is_past(verb.forms["VBD"]), base
            assert not is_past(verb.forms["VBP"]), base
            assert not is_past(verb.forms["VBZ"]), base


def test_plurals_are_plural_and_singulars_are_not():
    for group in NOUNS:
        for noun in all_words(group):
            assert not is_plural(noun.forms["NN"])
            assert "NNS" not in noun.forms or is_plural(noun.forms["NNS"])


# What a bag of words knows


def accuracy(task, **vectorizer):
    """Test accuracy of logistic regression on counts of words."""
    splits, labels = np.array(task.splits), np.array(task.labels)
    sentences = np.array(task.sentences, dtype=object)
    counts = CountVectorizer(**vectorizer)
    train, test = splits == "train", splits == "test"
    seen, unseen = counts.fit_transform(sentences[train]), counts.transform(sentences[test])
    probe = LogisticRegression(max_iter=2000).fit(seen, labels[train])
    return probe.score(unseen, labels[test])


@pytest.mark.parametrize("task", NEAR_CHANCE)
def test_bag_of_words_is_near_chance(task):
    # 1,000 test sentences: one standard deviation is 1.6 points.
    assert abs(accuracy(generate(task, sizes=(1000, 0, 1000))) - 0.5) < 0.05


def test_what_is_not_in_the_bag_is_in_the_order_and_the_letters():
    inverted = generate("coordination_inversion", sizes=(1000, 0, 500))
    assert accuracy(inverted, ngram_range=(2, 2)) > 0.75
    number = generate("subj_number", sizes=(1000, 0, 500))
    assert accuracy(number, analyzer="char_wb", ngram_range=(2, 4)) > 0.6
    content = generate("word_content", sizes=(1000, 0, 500))
    assert accuracy(content) > 0.98


def test_length_says_nothing_about_depth():
    rows = generate_sentences("tree_depth", seed=1, sizes=(98, 49, 49))
    for split in ("train", "dev", "test"):
        pairs = [(len(row.tokens), int(row.label)) for row in rows if row.split == split]
        lengths, depths = zip(*pairs, strict=True)
        assert abs(np.corrcoef(lengths, depths)[0, 1]) < 1e-9
        assert len(set(lengths)) == 7


@pytest.mark.parametrize("label", ["I", "O"])
def test_either_clause_is_the_longer_one_as_often(label, made):
    longer = Counter()
    for row in made["coordination_inversion"]:
        if row.label == label and row.split == "train":
            first, second = (part for part in row.tree.children if isinstance(part, Tree))
            longer[len(first.leaves()) > len(second.leaves())] += 1
            assert len(first.leaves()) != len(second.leaves())
    assert longer == {True: 35, False: 35}


def test_odd_words_are_marked_and_are_nouns_and_verbs_alike(made):
    rows = made["odd_man_out"]
    kinds = Counter()
    for row in rows:
        assert (row.replaced is None) == (row.label == "O")
        if row.replaced is not None:
            word = row.tree.leaves()[row.replaced]
            kinds[word.tag[:2]] += 1
            assert word.lexeme.forms[word.tag] == word.text
    assert abs(kinds["NN"] - kinds["VB"]) <= 3


# Trees


def test_tree_by_hand():
    anna, slept = Word("NNP", "Anna"), Word("VBD", "slept")
    tree = Tree("S", (Tree("NP", (anna,)), Tree("VP", (slept,)), Word(".", ".")))
    assert tree.bracketing() == "(S (NP (NNP Anna)) (VP (VBD slept)) (. .))"
    assert tree.depth == 3
    assert tree.leaves() == [anna, slept, Word(".", ".")]
    not_word, sleep = Word("RB", "not"), Word("VB", "sleep")
    changed = tree.with_words({1: (Word("VBD", "did"), not_word, sleep)})
    assert [leaf.text for leaf in changed.leaves()] == ["Anna", "did", "not", "sleep", "."]
    assert tree.leaves()[1] is slept
    row = GeneratedSentence(tree, ("the", "king", "'s", "dog", "."), "O", "test", 1, 0, None)
    assert row.text == "The king's dog."


@pytest.mark.parametrize(
    ("word", "article"),
    [
        ("owl", "an"),
        ("honest", "an"),
        ("honey", "a"),
        ("uniform", "a"),
        ("uncle", "an"),
        ("dog", "a"),
    ],
)
def test_indefinite_article(word, article):
    assert indefinite_article(word) == article
