"""Conversations about one picture or sound: chat template, messages, prompts, and the word-level tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from .language import ASSISTANT, BOS, EOS, PAD, UNKNOWN, USER

Message = dict[str, Any]
MAX_LENGTH: Final = 256
"""Most tokens of a prompt with its answer."""


@dataclass(frozen=True)
class Chat:
    """How a world writes conversations.

    Attributes
    ----------
    modality : str
        ``"image"`` or ``"audio"``: the type of a part of a message.
    mark : str
        What stands for it in a prompt.
    """

    modality: str
    mark: str

    @property
    def template(self) -> str:
        """The chat template."""
        return (
            "<s>{% for m in messages %}"
            "{% if m['role'] == 'user' %}user: "
            "{% if m['content'] is string %}{{ m['content'] }} {% else %}"
            "{% for c in m['content'] %}"
            f"{{% if c['type'] == '{self.modality}' %}}{self.mark} {{% endif %}}{{% endfor %}}"
            "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }} {% endif %}{% endfor %}"
            "{% endif %}{% else %}assistant: "
            "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
            "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}"
            " </s>{% endif %}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
        )

    def messages(self, question: str, earlier: Sequence[tuple[str, str]] = ()) -> list[Message]:
        """Return chat messages about one picture or sound.

        Parameters
        ----------
        question : str
            What is asked now.
        earlier : sequence of (str, str)
            Question and answer of each earlier turn.

        Returns
        -------
        list of dict
            For ``processor.apply_chat_template``; the picture or sound comes with the first user message.
        """
        chat: list[Message] = []
        for asked, answer in (*earlier, (question, None)):
            content: list[Message] = [{"type": "text", "text": asked}]
            chat.append({"role": "user", "content": content if chat else [{"type": self.modality}, *content]})
            if answer is not None:
                chat.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        return chat

    def prompt(self, question: str, earlier: Sequence[tuple[str, str]] = ()) -> str:
        """Return what the chat template makes of ``messages(question, earlier)``, up to the answer."""
        text, mark = BOS, f"{self.mark} "
        for asked, answer in earlier:
            text += f"{USER} {mark}{asked} {ASSISTANT} {answer} {EOS}"
            mark = ""
        return f"{text}{USER} {mark}{question} {ASSISTANT}"


def word_tokenizer(vocabulary: Mapping[str, int], special: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a word-level tokenizer (lower case, padding on the left; the chat template writes ``<s>``).

    Parameters
    ----------
    vocabulary : mapping of str to int
        Word to token id.
    special : sequence of str
        Further special tokens of the world: placeholders, and marks around them.
    """
    words = Tokenizer(models.WordLevel(dict(vocabulary), unk_token=UNKNOWN))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(r"[.,?]"), "isolated")]
    )
    kind: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = kind(
        tokenizer_object=words,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        pad_token=PAD,
        additional_special_tokens=list(special),
        padding_side="left",
        model_max_length=MAX_LENGTH,
    )
    return tokenizer
