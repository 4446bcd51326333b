"""POPE and CHAIR records scored by lmms-eval's own code, and by ours: the same numbers.

Its two modules are loaded by their paths and need no other package: ``pip install --no-deps lmms-eval`` is enough.
"""

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.benchmark_files import generated_answers, pope_files

from lime_xai.evaluation.benchmarks import protocol_of, score
from lime_xai.evaluation.benchmarks.protocol import Item
from lime_xai.evaluation.benchmarks.words import TEXT_PARSERS, TextParser

SPEC = importlib.util.find_spec("lmms_eval")
pytestmark = pytest.mark.skipif(SPEC is None, reason="needs lmms-eval: pip install --no-deps lmms-eval")
MARKS = (",", ".", ";", "!")


def task_code(task):
    """Return the module of a task, without running the package it is in."""
    path = Path(SPEC.origin).parent / "tasks" / task / "utils.py"
    spec = importlib.util.spec_from_file_location(f"lmms_{task}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def split_words(text):
    """A tokeniser that both are given: words, and marks apart."""
    for mark in MARKS:
        text = text.replace(mark, f" {mark} ")
    return text.lower().split()


@pytest.fixture
def chair_code(monkeypatch):
    """The CHAIR task, with the tokeniser of this test in place of NLTK's, whose data is a download."""
    nltk, corpus, stem = ModuleType("nltk"), ModuleType("nltk.corpus"), ModuleType("nltk.stem")
    nltk.word_tokenize = split_words
    nltk.pos_tag = lambda words: [(word, "NN") for word in words]
    corpus.wordnet = type("WordNet", (), {"ADJ": "a", "VERB": "v", "NOUN": "n", "ADV": "r"})
    stem.WordNetLemmatizer = type("Same", (), {"lemmatize": lambda self, word, pos: word})
    for name, module in {"nltk": nltk, "nltk.corpus": corpus, "nltk.stem": stem}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(TEXT_PARSERS, "split", TextParser(lambda text, known: split_words(text)))
    return task_code("coco_cap_chair")


@pytest.mark.parametrize("seed", range(3))
def test_pope_is_scored_as_lmms_eval_does(seed, tmp_path):
    theirs, pope = task_code("pope"), protocol_of("pope-coco")
    items = pope.read(pope_files(tmp_path, 336), partial=True)
    assert len(items) > 1000
    answers = generated_answers(items, seed)
    found = score(pope, items, answers, "lmms-eval", resamples=1)
    for split in ("random", "popular", "adversarial"):
        rows = [
            theirs.pope_process_results({"question_id": item.id, "answer": item.truth["label"]}, [answers[item.id]])
            for item in items
            if item.group == split
        ]
        for ours, name in (
            ("accuracy", "accuracy"),
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "f1_score"),
        ):
            values = [row[f"pope_{name}"] for row in rows]
            assert found[split][ours][0] == pytest.approx(getattr(theirs, f"pope_aggregate_{name}")(values)), (
                split,
                name,
            )


def synonyms_of(code):
    """Return its synonyms in the form of the official file, a class a line."""
    classes = {}
    for word, node in code.INVERSE_SYNONYM_DICT.items():
        classes.setdefault(node, [node]).append(word)
    lines = [dict.fromkeys(words) for words in classes.values()]
    return "".join(", ".join(words) + "\n" for words in lines)


def test_chair_is_scored_as_lmms_eval_does(chair_code):
    chair, draw = protocol_of("chair"), random.Random(1)
    synonyms, words = synonyms_of(chair_code), sorted(chair_code.INVERSE_SYNONYM_DICT)
    pool = [*words, *chair_code.DOUBLE_WORD_DICT, "toilet", "seat", "a", "the", "wooden", *MARKS]
    nodes = sorted(set(chair_code.INVERSE_SYNONYM_DICT.values()))
    items, answers, rows = [], {}, []
    for number in range(1000):
        shown = sorted(draw.sample(nodes, draw.randint(1, 5)))
        truth = {"objects": shown, "captions": [], "synonyms": synonyms}
        items.append(Item(str(number), "", truth=truth, unit=str(number)))
        answers[str(number)] = " ".join(draw.choices(pool, k=draw.randint(0, 20)))
        doc = {"question_id": number, "gt_object": shown}
        rows.append(chair_code.coco_cap_chair_process_result(doc, [answers[str(number)]]))
    found = score(chair, items, answers, "split", resamples=1)["all"]
    for name in ("chair_i", "chair_s", "recall"):
        values = [row[f"coco_cap_{name}"] for row in rows]
        wanted = getattr(chair_code, f"coco_cap_chair_aggregate_results_{name}")(values)
        assert 100 * found[name][0] == pytest.approx(wanted), name
    assert found["chair_i"][0] > 0.5
