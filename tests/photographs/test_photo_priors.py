import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.photographs import priors
from benchmarks.photographs.catalogue import CLASSES
from benchmarks.photographs.language import language_of, read_priors, single_tokens
from benchmarks.photographs.placed import SIDES
from benchmarks.photographs.tints import TINTS


def every_matching(items):
    """All ways to put items into pairs."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for place, other in enumerate(rest):
        for more in every_matching(rest[:place] + rest[place + 1 :]):
            yield [(first, other), *more]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 6]))
def test_pairs_are_the_matching_with_the_greatest_sum(seed, count):
    scores = np.random.default_rng(seed).normal(size=(count, count))
    added = np.array(
        [
            [scores[a, b] - np.mean([scores[c, b] for c in range(count) if c != b]) for b in range(count)]
            for a in range(count)
        ]
    )

    def total(pairs):
        return sum(added[a, b] + added[b, a] for a, b in pairs)

    found = priors.paired(scores)
    assert sorted(one for pair in found for one in pair) == list(range(count))
    assert total(found) == pytest.approx(max(total(pairs) for pairs in every_matching(list(range(count)))))
    assert [added[a, b] + added[b, a] for a, b in found] == sorted((total([pair]) for pair in found), reverse=True)


def test_a_popular_name_is_nobodys_partner_for_being_popular():
    scores = np.zeros((4, 4))
    scores[:, 3] = 5.0  # probable after every name
    scores[0, 1] = scores[1, 0] = 1.0
    assert set(priors.paired(scores)) == {(0, 1), (2, 3)}


class Words:
    """A tokenizer of whole words, with their spaces."""

    def __init__(self):
        self.known = {}

    def __call__(self, text, add_special_tokens=False, return_tensors=None):
        pieces = text.replace(" ", "\0 ").split("\0")
        ids = [self.known.setdefault(piece, len(self.known)) for piece in pieces if piece]
        return {"input_ids": torch.tensor([ids]) if return_tensors else ids}


class Answers:
    """A model that answers by a rule: after a text the words that it is told are probable."""

    def __init__(self, words, rule):
        self.words, self.rule = words, rule

    def __call__(self, input_ids, logits_to_keep):
        names = {number: piece for piece, number in self.words.known.items()}
        text = "".join(names[number] for number in input_ids[0].tolist())
        logits = torch.zeros(1, 1, 4000)
        for word, value in self.rule(text).items():
            logits[0, 0, self.words(word)["input_ids"][0]] = value
        return type("Output", (), {"logits": logits})


def test_each_name_is_asked_after_its_own_article():
    words, texts = Words(), []

    def rule(text):
        texts.append(text)
        if text.endswith("a dog and an"):
            return {" owl": 2.0}
        return {" lemon": 3.0} if text.endswith("a dog and a") else {}

    scores = priors.follows(Answers(words, rule), words)
    dog, lemon, owl, cow = (CLASSES.index(name) for name in ("dog", "lemon", "owl", "cow"))
    assert scores[dog, lemon] > scores[dog, cow]
    assert scores[dog, owl] > scores[cow, owl]
    assert len(texts) == 2 * len(CLASSES)
    assert all(text.startswith("<|im_start|>user\nWhat is in the picture?") for text in texts)


def test_the_usual_answer_is_the_most_probable_one():
    words = Words()
    colours = priors.colour_attribute([0] * len(CLASSES))
    rule = lambda text: {"yellow": 2.0} if " lemon?" in text else {"green": 1.0}  # noqa: E731
    found = priors.usual(Answers(words, rule), words, colours, TINTS)
    assert found["lemon"] == "yellow"
    assert found["frog"] == "green"


def test_the_file_names_every_class_once_and_makes_a_language():
    made = read_priors()
    language = language_of(made)
    assert len(made["model"]) == 64
    assert sum(made["popularity"].values()) == pytest.approx(1)
    assert set(made["sides"].values()) <= set(SIDES)
    for obj, other in enumerate(language.partners):
        assert obj != other
        assert language.partner(other) == obj


@pytest.mark.parametrize("part", ["pairs", "popularity", "colours"])
def test_priors_about_other_classes_are_refused(part):
    made = dict(read_priors())
    changed = [("dog", "dog"), *made["pairs"][1:]] if part == "pairs" else {**made[part], "unicorn": made[part]["dog"]}
    with pytest.raises(ValueError, match=f"the {part} of the priors do not fit"):
        language_of(made | {part: changed})


def test_words_of_several_tokens_are_refused():
    words = Words()
    assert single_tokens(words, [" dog", "Yes"]) == [0, 1]
    with pytest.raises(ValueError, match="splits 'a dog'"):
        single_tokens(words, [" dog", "a dog"])
