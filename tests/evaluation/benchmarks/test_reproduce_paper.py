"""The paper's cells and settings, and which of its models one is."""

import re
from dataclasses import replace

import pytest
import torch
from transformers import LlavaConfig, Qwen2AudioConfig

from lime_xai import Contrast, Edit
from lime_xai.evaluation.against import Against
from lime_xai.evaluation.benchmarks.paper import CELLS, MODELS, cells_of, named_model, paper_model
from lime_xai.evaluation.benchmarks.protocol import protocol_of
from lime_xai.evaluation.benchmarks.protocols.air_bench import TASKS
from lime_xai.evaluation.benchmarks.reproduction import SUBJECTS, plain_sampling, rows_of
from lime_xai.evaluation.benchmarks.two_classes import SPLITS
from lime_xai.worlds import scene

NOTED = """
T1 LLaVA-1.5-7B pope-coco regular random 83.49/82.28
T1 LLaVA-1.5-7B pope-coco regular all_groups 79.83/79.29
T1 LLaVA-1.5-7B pope-coco LIME adversarial 85.51/84.52
T1 LLaVA-1.5-7B pope-coco LIME all_groups 87.89/87.37
T1 LLaVA-1.5-7B pope-coco VCD all_groups 82.27/83.16
T2 LLaVA-1.5-7B chair OPERA all 47.8/14.6/77.3
T2 LLaVA-1.5-7B chair LIME all 42.7/13.0/72.0
T2 Qwen2.5-VL-7B chair LIME all 21.2/8.2/56.5
T2 Qwen-VL-Chat chair regular all 46.0/12.5/64.3
T3a Qwen2-Audio-7B audio-hallucination AAD popular 51.31/12.09
T3a Qwen2-Audio-7B audio-hallucination LIME random 63.36/50.27
T3a SALMONN audio-hallucination LIME adversarial 54.35/26.00
T3b Qwen2-Audio-7B air-bench-foundation LIME sound 66.41
T3b SALMONN air-bench-foundation AAD music 30.38
T7 Qwen-VL-Chat pope-coco LIME all_groups 87.25/87.03
T7 Qwen2.5-VL-7B pope-aokvqa regular all_groups 86.56/85.48
T8 LLaVA-1.5-7B pope-aokvqa LIME all_groups 87.33/87.15
"""
"""Lines of the note, written anew."""

MEASURES = {"chair": ("chair_s", "chair_i", "recall"), "air-bench-foundation": ("accuracy",)}
LLAVA = "llava-hf/llava-1.5-7b-hf"


@pytest.mark.parametrize("line", NOTED.split("\n")[1:-1])
def test_cells_are_those_of_the_note(line):
    table, model, benchmark, row, group, values = line.split()
    found = {
        cell.measure: cell.value
        for cell in CELLS
        if (cell.table, cell.model, cell.benchmark, cell.row, cell.group)
        == (table, model, benchmark, row, group.replace("_", " "))
    }
    measures = MEASURES.get(benchmark, ("accuracy", "f1"))
    assert found == dict(zip(measures, map(float, values.split("/")), strict=True))


def test_every_cell_has_one_place_that_a_protocol_has():
    places = [replace(cell, value=0.0, remark="") for cell in CELLS]
    assert len(set(places)) == len(places)
    groups = {"chair": ["all"], "air-bench-foundation": list(TASKS)}
    for cell in CELLS:
        protocol = protocol_of(cell.benchmark)
        assert re.fullmatch(r"T\d[ab]?", cell.table)
        assert cell.model in MODELS
        assert cell.measure in protocol.measures
        assert cell.group in groups.get(cell.benchmark, [*SPLITS, "all groups"])
        assert 0 < cell.value < 100
    assert {subject.protocol for subject in SUBJECTS.values()} == {cell.benchmark for cell in CELLS}


def test_means_are_those_of_the_splits():
    """The paper's own average is the plain mean, to its rounding: a wrongly copied cell shows here."""
    for row in ("regular", "LIME"):
        cells = {(c.group, c.measure): c.value for c in CELLS if (c.table, c.row) == ("T1", row)}
        for measure in ("accuracy", "f1"):
            mean = sum(cells[split, measure] for split in SPLITS) / 3
            assert cells["all groups", measure] == pytest.approx(mean, abs=0.0101)


@pytest.mark.parametrize(
    ("name", "rate", "weight"),
    [
        ("LLaVA-1.5-7B", 3e-4, 0.1),
        ("Qwen-VL-Chat", 4e-4, 0.1),
        ("Qwen2.5-VL-7B", 3e-4, 0.1),
        ("SALMONN", 3e-4, 0.1),
        ("Qwen2-Audio-7B", 5e-4, 7e-3),
    ],
)
def test_settings_are_the_papers(name, rate, weight):
    policy, plain = MODELS[name].policy(), Edit.paper()
    assert (policy.steps, policy.learning_rate, policy.objective.kl_weight) == (7, rate, weight)
    assert (policy.objective.temperature, policy.objective.form, policy.scope) == (0.1, "contrastive", "sequence")
    objective = replace(policy.objective, kl_weight=plain.objective.kl_weight)
    assert replace(policy, learning_rate=plain.learning_rate, objective=objective) == plain


def test_a_model_is_known_by_id_and_config_together(tmp_path, monkeypatch):
    assert paper_model(LLAVA, LlavaConfig()) == MODELS["LLaVA-1.5-7B"]
    assert paper_model("Qwen/qwen2-audio-7b-instruct", Qwen2AudioConfig()) == MODELS["Qwen2-Audio-7B"]
    folder = tmp_path / "llava-1.5-7b-hf"
    folder.mkdir()
    assert paper_model(str(folder), LlavaConfig()) == MODELS["LLaVA-1.5-7B"]
    monkeypatch.chdir(folder)
    assert paper_model(".", LlavaConfig()) == MODELS["LLaVA-1.5-7B"]


def test_a_model_is_never_guessed():
    small = LlavaConfig(text_config={"model_type": "llama", "hidden_size": 128, "num_hidden_layers": 4})
    assert paper_model("scene", small) is None
    assert paper_model("somebody/gpt", LlavaConfig(text_config={"model_type": "llama", "hidden_size": 5120})) is None
    with pytest.raises(ValueError, match=r"other weights have it too and the name is not llava-hf/llava-1.5-7b-hf"):
        paper_model("somebody/llava-1.5-7b-hf", LlavaConfig())
    with pytest.raises(ValueError, match=r"named like the paper's LLaVA-1.5-7B, but its config is llava with a hidden"):
        paper_model(LLAVA, small)
    assert named_model("none") is None
    assert named_model("SALMONN") is MODELS["SALMONN"]
    with pytest.raises(ValueError, match=r"Unknown model of the paper 'salmon'. Did you mean 'SALMONN'"):
        named_model("salmon")
    assert cells_of(None, "chair") == []


@pytest.mark.parametrize("name", SUBJECTS)
def test_rows_are_named_as_what_they_are(name):
    subject = SUBJECTS[name]
    rows = rows_of(subject, MODELS["LLaVA-1.5-7B"])
    beside = {row.beside: row for row in rows if row.beside}
    other = "AAD" if subject.modality == "audio" else "VCD"
    assert set(beside) == {"regular", "LIME", other}
    medium = {"AAD": "nothing", "VCD": "noise"}[other]
    assert beside[other].policy == Against(Contrast("counterfactual"), medium)
    assert beside[other].name == f"{other}, no gradients"
    assert (beside["regular"].decoding, beside["regular"].policy) == ("sampling", None)
    assert beside["LIME"].policy == MODELS["LLaVA-1.5-7B"].policy()
    greedy = {row.key: row.policy for row in rows if row.decoding == "greedy"}
    assert (greedy["vanilla"], greedy["edit"], greedy["contrast"]) == (None, Edit(), Contrast())
    assert len({row.name for row in rows}) == len(rows)
    assert "those for LLaVA-1.5-7B" in next(row.note for row in rows_of(subject, None) if row.key == "paper")


def test_sampling_is_from_the_whole_distribution():
    model, processor = scene.WORLD.load_model()
    found = scene.evaluation_set(seed=900, scenes=1)
    inputs = found.world.batch(processor, found.media, [found.world.prompt(found.world.language.caption_request)])
    model.lm_head.register_forward_hook(lambda module, given, logits: logits / 20)  # the bundled model is too certain
    before = model.generation_config
    before.top_k, before.temperature, before.min_p = 1, 1e-3, 0.5  # what a checkpoint may say
    with torch.no_grad():
        odds = model(**inputs).logits[:, -1].float().softmax(-1)
    drawn = set()
    for seed in range(12):
        torch.manual_seed(seed)
        expected = torch.multinomial(odds, 1)
        torch.manual_seed(seed)
        with plain_sampling(model):
            ids = model.generate(**inputs, max_new_tokens=1, do_sample=True)
        assert ids[0, -1] == expected
        drawn.add(int(expected))
    assert len(drawn) > 1, "the case draws one token only, which says nothing"
    assert model.generation_config is before
    assert (before.top_k, before.temperature) == (1, 1e-3)
