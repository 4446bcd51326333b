"""Tokenizers for tiny random models."""

import tokenizers
from tokenizers import models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def numbered_tokenizer(size=128, **named):
    """``w0``, ``w1``, ... for the ids 0, 1, ...; ``named`` gives some tokens another text."""
    words = [f"w{token}" for token in range(size)]
    for text, token in named.items():
        words[token] = text
    made = tokenizers.Tokenizer(models.WordLevel({word: token for token, word in enumerate(words)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="w0")
