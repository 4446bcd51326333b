"""A tiny model of photographs whose tokenizer knows the words that the world counts, as SmolLM2's does."""

import torch
from tokenizers import AddedToken

from benchmarks.photographs.language import language_of, read_priors
from benchmarks.photographs.model import tiny
from benchmarks.photographs.naming import BACKGROUND
from benchmarks.photographs.scenes import DIFFICULTIES
from benchmarks.photographs.world import PhotographWorld

from .photo_cutouts import drawn_catalogue

LANGUAGE = language_of(read_priors())


def tiny_words():
    """Return a tiny model and its processor, in which names and answers are one token each."""
    model, processor = tiny(0)
    answers = [*(word for one in LANGUAGE.attributes for word in one.words), *LANGUAGE.numbers, "Yes", "No"]
    words = [*(f" {name}" for name in (*LANGUAGE.classes, BACKGROUND)), *answers]
    processor.tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of the embeddings of these words
        model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
    return model, processor


def drawn_world(models):
    """Return the world of drawn cut-outs, with models in a folder."""
    return PhotographWorld(drawn_catalogue(), LANGUAGE, models, DIFFICULTIES["medium"])
