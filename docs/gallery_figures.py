"""Make ``docs/_static/gallery-*.png``: ``python docs/gallery_figures.py [NAME ...]`` (pages need Chromium).

Pictures of the bundled model show one scene of a fixed seed, the example of the docs. The model that hears has random
weights of a fixed seed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from photograph import photograph, with_click
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

import lime_xai
from lime_xai.evaluation.attributions.world import world_examples
from lime_xai.report.page import Entry, report_page
from lime_xai.worlds import bundled_model, example

STATIC = Path(__file__).parent / "_static"
DPI = 130
COMPARED = ("attnlrp", "cplrp", "gradient_input", "saliency", "attention_rollout", "feature_ablation")
QUESTIONS = 16
PICTURES = 6
WORDS = [
    *("<pad>", "<s>", "</s>", "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"),
    *("what", "do", "you", "hear", "?", "a", "bell", "whistle", "rings", "and", "then", "the"),
]
TONES = ((0.5, 1.2, 440.0), (1.8, 2.6, 1800.0))
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'audio' %}"
    "<|audio_bos|> <|AUDIO|> <|audio_eos|> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
)


def answer() -> None:
    """Draw the figures of an answer, alone and beside the answer under a policy."""
    model, processor, inputs = example()
    found = lime_xai.explain(model, inputs, "contrast", processor=processor, max_new_tokens=30)
    alone = found.before
    alone.plot("cloud").savefig(STATIC / "gallery-word.png", dpi=DPI)
    alone.plot_words().savefig(STATIC / "gallery-words.png", dpi=DPI)
    alone.plot_matrix().savefig(STATIC / "gallery-matrix.png", dpi=DPI)
    found.plot_before_after("anchor").savefig(STATIC / "gallery-before-after.png", dpi=DPI)
    photograph(
        with_click(found.to_html(title="describe the image ."), "sun", "cloud"),
        STATIC / "gallery-page-dark.png",
        1100,
        860,
        dark=True,
    )
    photograph(
        with_click(found.to_html(title="describe the image ."), "cloud", "cloud"),
        STATIC / "gallery-page-phone.png",
        500,
        1000,
    )


def folder() -> None:
    """Take a picture of the page of several answers."""
    entries = []
    for seed in range(900, 900 + PICTURES):
        model, processor, inputs = example(seed=seed)
        found = lime_xai.explain(model, inputs, processor=processor, max_new_tokens=30)
        entries.append(Entry(f"scene-{seed}.png", found))
    photograph(report_page(entries, "describe the image ."), STATIC / "gallery-folder.png", 1100, 760)


def steps() -> None:
    """Draw the objective of an edit over its steps."""
    model, processor, inputs = example()
    policy = lime_xai.Edit(steps=7)
    found = lime_xai.explain(model, inputs, policy, processor=processor, max_new_tokens=10, compare=False)
    found.plot_steps(columns=2).savefig(STATIC / "gallery-steps.png", dpi=DPI)


def pixels() -> None:
    """Draw the relevance of pixels for a margin."""
    model, processor, inputs = example("is there a heart in the image ?")
    target = tuple(processor.tokenizer.convert_tokens_to_ids(["yes", "no"]))
    found = lime_xai.attribute_pixels(model, inputs, target, encoder=lime_xai.EncoderLRP(gamma=0.25))
    found.plot("is there a heart in the image ? yes against no").savefig(STATIC / "gallery-pixels.png", dpi=DPI)


def terminal() -> None:
    """Draw what a terminal shows."""
    model, processor, inputs = example("is there a heart in the image ?")
    found = lime_xai.attribute(model, inputs, "yes", processor=processor)
    console = Console(record=True, width=60, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(found.text(width=60))
    photograph(console.export_html(), STATIC / "gallery-terminal.png", 660, 270)


def comparison() -> None:
    """Draw methods beside each other on a few questions."""
    model, processor = bundled_model()
    examples = world_examples(processor, QUESTIONS)
    found = lime_xai.compare_attributions(
        model, examples, COMPARED, ("delta_a", "mass", "rank", "passes"), processor=processor
    )
    found.plot().savefig(STATIC / "gallery-comparison.png", dpi=DPI)


def sound() -> None:
    """Draw two tones and the relevance of a word over time, of a model with random weights."""
    model, processor = hearing()
    rate = processor.feature_extractor.sampling_rate
    seconds = np.arange(3 * rate) / rate
    tones = [
        ((seconds > start) & (seconds < stop)) * np.sin(2 * np.pi * pitch * seconds) for start, stop, pitch in TONES
    ]
    content = [{"type": "audio", "audio": sum(tones).astype("float32")}, {"type": "text", "text": "what do you hear ?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    found = lime_xai.explain(model, inputs, processor=processor, max_new_tokens=2)
    events = {f"{pitch:.0f} Hz": (start, stop) for start, stop, pitch in TONES}
    found.plot_sound(0, events=events).savefig(STATIC / "gallery-sound.png", dpi=DPI)


def hearing() -> tuple[Any, Any]:
    """Return a tiny Qwen2-Audio with random weights, and a processor that knows eighteen words."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", bos_token="<s>")
    tokenizer.add_special_tokens({"additional_special_tokens": WORDS[3:6]})
    features = WhisperFeatureExtractor(feature_size=64, chunk_length=4)
    processor = Qwen2AudioProcessor(feature_extractor=features, tokenizer=tokenizer, chat_template=TEMPLATE)
    small = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    text = {
        "model_type": "qwen2",
        "vocab_size": len(WORDS),
        "hidden_size": 64,
        "intermediate_size": 128,
        **small,
        **ends,
    }
    tower = {"encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "d_model": 32}
    tower |= {"num_mel_bins": 64, "max_source_positions": 200}
    torch.manual_seed(1)
    config = Qwen2AudioConfig(audio_config=tower, text_config=text, audio_token_index=4)
    return Qwen2AudioForConditionalGeneration(config).eval(), processor


FIGURES: dict[str, Callable[[], None]] = {
    one.__name__: one for one in (answer, folder, steps, pixels, terminal, comparison, sound)
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or FIGURES:
        FIGURES[chosen]()
