"""Vocabulary, tokenizer, processor, chat template, and the model's forward on what they make."""

import numpy as np
import torch

from benchmarks.worlds.scene import SUBJECT
from benchmarks.worlds.subject import answer_logits
from lime_xai.worlds import scene
from lime_xai.worlds.scene.text import LANGUAGE, VOCABULARY


def test_vocabulary_and_tokenizer_agree():
    tokenizer = scene.build_tokenizer()
    assert len(VOCABULARY) == len(tokenizer) == 77
    assert dict(tokenizer.get_vocab()) == dict(VOCABULARY)
    text = LANGUAGE.caption_text([0, 3, 5])
    assert text == "there is a cup , an umbrella , an anchor ."
    assert tuple(tokenizer(text)["input_ids"]) == LANGUAGE.encode(text)
    assert tokenizer("Is there a cup, please?")["input_ids"] == list(LANGUAGE.encode("is there a cup , please ?"))
    assert tokenizer("a zebra")["input_ids"][1] == tokenizer.unk_token_id
    assert tokenizer.padding_side == "left"


def test_every_prompt_is_in_the_vocabulary_and_equals_the_chat_template():
    processor = scene.build_processor()
    evaluation = scene.evaluation_set(seed=0, scenes=10)
    cases = [(q.messages, q.prompt) for q in evaluation.questions]
    cases.append((evaluation.caption_messages, evaluation.caption_prompt))
    texts = [evaluation.detail_prompt, *(q.prompt for q in (*evaluation.open_questions, *evaluation.probes))]
    assert not any(processor.tokenizer.unk_token_id in processor.tokenizer(t)["input_ids"] for t in texts)
    for chat, text in cases:
        assert processor.apply_chat_template(chat, add_generation_prompt=True) == text
        assert processor.tokenizer.unk_token_id not in processor.tokenizer(text)["input_ids"]


def test_template_takes_plain_strings():
    processor = scene.build_processor()
    chat = [{"role": "user", "content": "describe the image ."}, {"role": "assistant", "content": "yes"}]
    text = processor.apply_chat_template(chat)
    assert text == "<s>user: describe the image . assistant: yes </s>"


def _batch(processor, evaluation):
    questions = [evaluation.split("random")[0], evaluation.split("dialogue")[0]]
    images = [[evaluation.images[q.scene]] for q in questions]
    return processor(images=images, text=[q.prompt for q in questions], return_tensors="pt", padding=True)


def test_processor_inserts_36_image_tokens_and_pads_left(untrained):
    model, processor = untrained
    inputs = _batch(processor, scene.evaluation_set(seed=0, scenes=4))
    assert (inputs["input_ids"] == VOCABULARY["<image>"]).sum(1).tolist() == [scene.IMAGE_TOKENS] * 2
    assert inputs["pixel_values"].shape == (2, 3, 72, 72)
    assert inputs["attention_mask"][0, 0] == 0
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1]
    logits = model(**inputs).logits
    assert logits.shape == (2, inputs["input_ids"].shape[1], 77)
    assert torch.isfinite(logits[:, -1]).all()


def test_training_forward_equals_the_models_own(untrained):
    model, processor = untrained
    evaluation = scene.evaluation_set(seed=3, scenes=3)
    inputs = processor(
        images=[[image] for image in evaluation.images],
        text=[evaluation.caption_prompt] * 3,
        return_tensors="pt",
        padding=True,
    )
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in evaluation.images]))
    last = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    last[:, -1] = True
    with torch.no_grad():
        mine = answer_logits(SUBJECT, model, inputs["input_ids"], last, SUBJECT.features(model, pixels))
        theirs = model(**inputs).logits[:, -1]
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_chat_template_with_the_image_equals_the_prompt(untrained):
    _, processor = untrained
    evaluation = scene.evaluation_set(seed=5, scenes=3)
    question = evaluation.split("dialogue")[0]
    image = evaluation.images[question.scene]
    chat = question.messages
    chat[0]["content"][0]["image"] = image
    options = {"tokenize": True, "return_dict": True, "add_generation_prompt": True, "return_tensors": "pt"}
    templated = processor.apply_chat_template(chat, **options)
    plain = processor(images=[image], text=[question.prompt], return_tensors="pt", padding=True)
    assert torch.equal(templated["input_ids"], plain["input_ids"])
    assert torch.equal(templated["pixel_values"], plain["pixel_values"])
