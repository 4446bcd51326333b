"""Stand-ins for recordings and their model: tones, random weights, and a tokenizer that knows the words."""

import numpy as np
import torch
from tokenizers import AddedToken

from benchmarks.photographs.language import PhotoLanguage
from benchmarks.recordings.catalogue import CLASSES, RATE, Recording, Recordings
from benchmarks.recordings.model import tiny

COUNT = len(CLASSES)


def tones():
    """Return a recording of each class, tones of different lengths; the first class has a short second one."""
    made = []
    for place, name in enumerate(CLASSES):
        seconds = 0.3 + 0.05 * place
        times = np.arange(round(seconds * RATE)) / RATE
        lengths = (len(times), 4000) if place == 0 else (len(times),)
        wave = np.sin(2 * np.pi * (200 + 50 * place) * times).astype(np.float32)
        made.append(tuple(Recording(f"{name}{n}.ogg", f"{name}{n}", wave[:n]) for n in lengths))
    return Recordings(CLASSES, tuple(made))


def said():
    """Return the words of recordings, with neighbours as pairs; nothing is read."""
    return PhotoLanguage(
        classes=CLASSES,
        popularity=np.full(COUNT, 1 / COUNT),
        attributes=(),
        numbers=("one", "two", "three"),
        exists="Is there {name} in the sound?",
        count_question="How many?",
        caption_request="What is in the sound?",
        detail_request="What is in the sound?",
        inventory_request="What is in the sound?",
        vocabulary={},
        yes="Yes",
        no="No",
        partners=tuple(place ^ 1 for place in range(COUNT)),
    )


def tiny_ears(seconds=3):
    """Return a tiny model and its processor, in which names and answers are one token each."""
    model, processor = tiny(0, seconds)
    words = [*(f" {name}" for name in (*CLASSES, "silence")), "Yes", "No"]
    processor.tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of the embeddings of these words
        model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
    return model, processor
