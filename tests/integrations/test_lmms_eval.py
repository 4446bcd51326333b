"""lmms-eval itself runs the bundled model under a policy. Needs ``pip install lmms-eval 'filelock<4'``."""

import json
import os
import subprocess
import sys

import pytest

import lime_xai
from lime_xai.model.chat import Request, make_inputs
from lime_xai.worlds import bundled_model, scene

pytest.importorskip("lmms_eval")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TASK = """
task: scene_questions
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function reading.visual
doc_to_text: !function reading.text
doc_to_target: answer
process_results: !function reading.results
metric_list: [{{metric: right, aggregation: mean, higher_is_better: true}}]
generation_kwargs: {{max_new_tokens: 12, temperature: 0, do_sample: false, num_beams: 1, until: [" ."]}}
"""
READING = """
from PIL import Image

def visual(doc):
    return [Image.open(doc["image"])]

def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]

def results(doc, answers):
    return {"right": float(answers[0].strip().startswith(doc["answer"]))}
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Write a task; returns its folder, its questions and its pictures."""
    folder = tmp_path_factory.mktemp("task")
    evaluation = scene.evaluation_set(seed=3, scenes=3)
    rows = []
    for index, picture in enumerate(evaluation.images):
        path = str(folder / f"{index}.png")
        picture.save(path)
        for question in [q for q in evaluation.split("random") if q.scene == index][:2]:
            (user,) = [part["text"] for part in question.messages[0]["content"] if part["type"] == "text"]
            answer = "yes" if question.label else "no"
            rows.append({"image": path, "question": user, "answer": answer, "scene": index})
        rows.append({"image": path, "question": "describe this picture", "answer": "there", "scene": index})
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "scene_questions.yaml").write_text(TASK.format(data=folder / "data.jsonl"))
    (folder / "reading.py").write_text(READING)
    return folder, rows, evaluation.images


def evaluated(folder, out, policy):
    command = [sys.executable, "-m", "lmms_eval", "--model", "lime_llava"]
    command += ["--model_args", f"pretrained=scene,policy={policy},device=cpu", "--tasks", "scene_questions"]
    command += ["--include_path", str(folder), "--batch_size", "1", "--output_path", str(out), "--log_samples"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HOME": str(out / "cache")}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    (samples,) = out.rglob("*samples_scene_questions.jsonl")
    found = [json.loads(line) for line in samples.read_text().splitlines()]
    return {one["doc_id"]: one["filtered_resps"] for one in found}


@pytest.mark.parametrize("policy", ["vanilla", "contrast+plausible"])
def test_answers_are_those_of_steer(policy, task, tmp_path):
    folder, rows, images = task
    answers = evaluated(folder, tmp_path, policy)
    model, processor = bundled_model()
    assert sorted(answers) == list(range(len(rows)))
    for index, row in enumerate(rows):
        inputs = make_inputs(model, processor, Request(row["question"], None, [images[row["scene"]]]))
        settings = {"max_new_tokens": 12, "do_sample": False, "num_beams": 1}
        if policy == "vanilla":
            ids = model.generate(**inputs, **settings)
        else:
            ids = lime_xai.steer(model, inputs, policy.split("+"), **settings).sequences
        text = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert answers[index] == text.partition(" .")[0]
