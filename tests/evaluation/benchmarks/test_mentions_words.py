"""Words of free text: plurals, pairs of words, synonyms, and sentences that a limit cut."""

import pytest

from lime_xai.evaluation.benchmarks import words
from lime_xai.evaluation.benchmarks.protocols.coco_words import PAIRS, mentions, read_synonyms, vocabulary
from lime_xai.storage.store import DamagedFileError

SYNONYMS = """person, man, woman, child, people, baby, adult, passenger, player, policeman
car, van, cab
motorcycle, scooter,  motor bike, motor cycle, motorbike
airplane, plane, jet
bus, minibus
train, caboose
traffic light, street light, stop light
stop sign
bench
bird, goose
dog, puppy, doggie
sheep, lamb
elephant
bear, panda
tie, bow, bow tie
suitcase, luggage
skis, ski
sports ball, ball
baseball glove
wine glass
cup
knife, knive
bowl, container
hot dog
orange
donut, bagel
cake,  cheesecake, cupcake
chair, seat, stool
couch, sofa
potted plant, houseplant
dining table, table, desk
toilet, urinal
tv, television
cell phone, phone, iPhone
oven, stove, stove top oven
scissors
teddy bear, teddybear
toothbrush
"""
RULES = words.text_parser("rules")

TRAPS = [
    ("A hot dog on a plate.", ["hot dog"]),
    ("A dog is hot.", ["dog"]),
    ("It is hot, dog and all.", ["dog"]),  # a comma between two words: no pair
    ("Two hot dogs.", ["hot dog"]),
    ("The toilet seat is up.", ["toilet"]),
    ("The seat of the toilet.", ["toilet"]),
    ("Seats beside toilets.", ["toilet"]),
    ("The seat of the bus.", ["chair", "bus"]),
    ("A wine glass.", ["wine glass"]),
    ("Three wine glasses.", ["wine glass"]),
    ("A glass of wine.", []),
    ("He wears a bow tie.", ["tie"]),
    ("A bow and a tie.", ["tie", "tie"]),
    ("A baby elephant.", ["elephant"]),
    ("An adult bear with baby birds.", ["bear", "bird"]),
    ("A baby with an elephant.", ["person", "elephant"]),
    ("A passenger train.", ["train"]),
    ("A passenger on a train.", ["person", "train"]),
    ("A train track.", []),
    ("He runs to home plate.", []),
    ("A stop sign.", ["stop sign"]),
    ("A stop and a sign.", []),
    ("A teddy bear.", ["teddy bear"]),
    ("A bear.", ["bear"]),
    ("Traffic lights and street lights.", ["traffic light", "traffic light"]),
    ("The skis and a ski.", ["skis", "skis"]),
    ("A bus, two buses.", ["bus", "bus"]),
    ("Geese, sheep and puppies.", ["bird", "sheep", "dog"]),
    ("Men, women, children, people and policemen.", ["person"] * 5),
    ("Knives and scissors.", ["knife", "scissors"]),
    ("The dog's bowl.", ["dog", "bowl"]),
    ("A hot-dog.", []),  # one token, as NLTK's tokenizer has it
    ("A motor bike, a motorbike.", ["motorcycle"]),  # " motor bike" has a space too many in the official file
    ("A cheesecake, a cupcake.", ["cake"]),  # " cheesecake" too
    ("An iPhone, a phone.", ["cell phone"]),  # texts are in lower case, the official file is not
    ("A stove top oven.", ["oven", "oven"]),  # three words are no pair
    ("A dining table.", ["dining table"]),
    ("An orange sky.", ["orange"]),  # a colour counts, as in the official script
    ("Benches, TOOTHBRUSHES, TVs.", ["bench", "toothbrush", "tv"]),
    ("A potted plant. A plant.", ["potted plant"]),
    ("Baseball gloves.", ["baseball glove"]),
    ("", []),
    ("...", []),
]


@pytest.mark.parametrize(("text", "named"), TRAPS, ids=[text for text, _ in TRAPS])
def test_objects_of_a_caption(text: str, named: list[str]) -> None:
    assert list(mentions(text, SYNONYMS, RULES).nodes) == named


def test_length_counts_a_pair_once_and_marks_too() -> None:
    tokens = ["a", "hot dog", ",", "a", "seat", "and", "a", "toilet", "."]
    assert mentions("A hot dog, a seat and a toilet.", SYNONYMS, RULES).tokens == len(tokens)


def test_pairs_are_the_published_ones() -> None:
    # 29 of the official script without the three words that no pair can equal, 24 animals, 2 vehicles, 3 exceptions;
    # "hot dog" and "teddy bear" are there twice, "bow tie" in both
    assert len(PAIRS) == 29 - 2 - 1 - 1 + 24 + 2 + 3
    assert PAIRS["toilet seat"] == "toilet"
    assert PAIRS["adult cub"] == "cub"


def test_synonyms_are_split_as_the_official_script_does() -> None:
    node_of = vocabulary(SYNONYMS).node_of
    assert node_of[" motor bike"] == "motorcycle"
    assert "motor bike" not in node_of
    assert {"iphone", "iPhone"}.isdisjoint(vocabulary(SYNONYMS).known)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("A dog. A cat on a", "A dog."),
        ("A dog.", "A dog."),
        ("A dog on a", ""),
        ("It costs 2.5 euros", ""),
        ('He says "stop." Then', 'He says "stop."'),
        ("Is it? Yes! And a", "Is it? Yes!"),
        ("One.\n\nTwo. Thr", "One.\n\nTwo."),
        ("Dots... and", "Dots..."),
        ("", ""),
    ],
)
def test_unfinished_sentence(text: str, kept: str) -> None:
    assert words.finished(text) == kept


def test_plurals_of_known_words_only() -> None:
    known = {"leave", "TV", "knife", "bus", "box", "air-conditioning"}
    text = "Leaves, TVs, knives, buses, boxes, air-conditioning, glasses, this"
    found = [word for word in words.rules_words(text, known) if word != ","]
    assert found == ["leave", "TV", "knife", "bus", "box", "air-conditioning", "glasses", "this"]


def test_a_parser_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "TEXT_PARSERS", dict(words.TEXT_PARSERS))
    own = words.TextParser(lambda text, known: text.lower().split())
    words.register_text_parser("split", own)
    assert mentions("Dogs dog.", SYNONYMS, words.text_parser("split")).nodes == ()
    assert mentions("dogs dog", SYNONYMS, words.text_parser("split")).nodes == ("dog",)
    with pytest.raises(ValueError, match="already"):
        words.register_text_parser("split", own)
    with pytest.raises(ValueError, match=r"without '\+'"):
        words.register_text_parser("split+finished", own)
    with pytest.raises(ValueError, match=r"Unknown text parser 'spilt'.*'split'"):
        words.text_parser("spilt")


def test_nltk_lemmatises_for_the_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tagger:
        word_tokenize = staticmethod(str.split)
        pos_tag = staticmethod(
            lambda tokens: [(token, {"parks": "VBZ", "old": "JJ"}.get(token, "NNS")) for token in tokens]
        )

    class Lemmatiser:
        @staticmethod
        def lemmatize(word: str, pos: str = "n") -> str:
            return f"{word}/{pos}"

    monkeypatch.setattr(words, "nltk_modules", lambda: (Tagger, Lemmatiser))
    assert words.nltk_words("Old DOGS parks", set()) == ["old/a", "dogs/n", "parks/v"]


@pytest.mark.parametrize(
    ("missing", "fix"), [(ImportError("no nltk"), "pip install nltk"), (LookupError("no data"), "downloader")]
)
def test_missing_nltk_is_named(monkeypatch: pytest.MonkeyPatch, missing: Exception, fix: str) -> None:
    def absent(name: str) -> None:
        raise missing

    monkeypatch.setattr(words, "import_module", absent)
    words.nltk_modules.cache_clear()
    with pytest.raises(ImportError, match=rf"{fix}.*parser 'rules'"):
        words.text_parser("nltk").check()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("dog, puppy\ncat, puppy\n", "line 2: 'puppy' is a word of 'cat', and of 'dog' in line 1"),
        ("\n \n", "is empty"),
        ("dog, , cat", "line 1: an empty word"),
    ],
)
def test_damaged_synonyms(tmp_path, text: str, error: str) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text(text)
    with pytest.raises(DamagedFileError, match=error):
        read_synonyms(path)


def test_missing_synonyms_say_where_they_are(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"synonyms\.txt of github\.com/LisaAnne/Hallucination"):
        read_synonyms(tmp_path / "synonyms.txt")
