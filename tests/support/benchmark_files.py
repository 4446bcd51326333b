"""Small files in the formats of published benchmarks, and generated answers for them."""

import json
import random

from lime_xai.evaluation.benchmarks.two_classes import SPLITS

COCO = "COCO_val2014_{:012d}.jpg"


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def write_array(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")
    return path


def pope_records(count, image=COCO):
    """Six questions about each image, yes and no in turn."""
    return [
        {
            "question_id": number + 1,
            "image": image.format(number // 6),
            "text": f"Is there a thing {number} in the image?",
            "label": "no" if number % 2 else "yes",
        }
        for number in range(count)
    ]


def pope_files(folder, count=12, image=COCO, write=write_lines):
    return {split: write(folder / f"{split}.json", pope_records(count, image)) for split in SPLITS}


def dash_files(folder, count=4):
    lists = {
        "negative": {"coco": {"bed": [f"{number}.png" for number in range(count)]}},
        "positive": {"coco": {"bed": ["0.jpg"]}, "openimages_common": {"tea pot": [f"{i}.jpg" for i in range(count)]}},
    }
    return {name: write_array(folder / f"{name}.json", lists[name]) for name in lists}


AMBER_KINDS = [
    ("discriminative-hallucination", "no"),
    ("discriminative-attribute-state", "yes"),
    ("discriminative-attribute-number", "no"),
    ("discriminative-attribute-action", "yes"),
    ("discriminative-relation", "yes"),
    ("relation", "no"),
]


def amber_files(folder, count=12):
    """One question for a description, then the kinds in turn."""
    kinds = [("generative", ["sky"]), *(AMBER_KINDS[number % 6] for number in range(count))]
    questions = [
        {"id": number, "image": f"AMBER_{number % 5}.jpg", "query": f"Is it {number}?"}
        for number in range(1, len(kinds) + 1)
    ]
    annotations = [{"id": number, "type": kind, "truth": truth} for number, (kind, truth) in enumerate(kinds, start=1)]
    return {
        "questions": write_array(folder / "query.json", questions),
        "annotations": write_array(folder / "annotations.json", annotations),
    }


def audio_files(folder, count=12):
    def records(split):
        return [
            {
                "entry_id": number,
                "audio_index": f"Y{number // 2}",
                "prompt_text": f"Is there a sound of thing {number}?",
                "object": "thing",
                "attribute": "negative" if number % 3 else "positive",
                "label": "No" if number % 3 else "Yes",
                "sampling": split,
            }
            for number in range(count)
        ]

    return {split: write_lines(folder / f"{split}.jsonl", records(split)) for split in SPLITS}


def air_records(count):
    """Tasks of the three groups in turn, with two to four options."""
    tasks = [("Speech_Grounding", "librispeech"), ("Audio_Grounding", "AudioGrounding"), ("Music_AQA", "music_avqa")]
    found = []
    for number in range(count):
        options = ["one", "two", "three", "four"][: 2 + number % 3]
        record = {
            "path": f"{number // 2}.wav",
            "question": f"How many in {number}?",
            "answer_gt": options[number % len(options)],
            "task_name": tasks[number % 3][0],
            "dataset_name": tasks[number % 3][1],
            "uniq_id": number,
        }
        record |= {f"choice_{letter}": option for letter, option in zip("abcd", options, strict=False)}
        found.append(record)
    return found


def air_files(folder, count=12):
    return {"questions": write_array(folder / "Foundation_meta.json", air_records(count))}


def mmhal_files(folder, count=12):
    records = [
        {
            "image_src": f"https://farm1.example.org/{number}%20a.jpg",
            "image_content": ["tree", "dog"],
            "question": f"What is {number}?",
            "gt_answer": f"It is {number}.",
            "model_answer": "",
        }
        for number in range(1, count + 1)
    ]
    return {"questions": write_array(folder / "response_template.json", records)}


def own_records(count):
    answers = ["yes", "No", "a red dog"]
    return [
        {"image": f"{number // 2}.png", "question": f"What is {number}?", "answer": answers[number % 3]}
        for number in range(count)
    ]


def own_files(folder, count=12):
    return {"questions": write_lines(folder / "own.jsonl", own_records(count))}


FILES = {
    "pope-coco": pope_files,
    "pope-aokvqa": pope_files,
    "pope-gqa": lambda folder, count=12: pope_files(folder, count, image="{:d}.jpg"),
    "repope": pope_files,
    "dash-b": dash_files,
    "amber-discriminative": amber_files,
    "audio-hallucination": audio_files,
    "air-bench-foundation": air_files,
    "mmhal": mmhal_files,
    "own": own_files,
}
"""What writes a part of each benchmark into a folder: those whose answers are yes, no, a choice or rated by a judge."""

PIECES = [
    *("Yes", "yes", "YES", "No", "no", "NO", "not", "Not", "know", "eyes", "nothing", "maybe", ""),
    *("there is no sound", "does not contain", "doesn't contain", "contains", "unable", "can't", "I cannot say"),
    *("A", "B", "C", "D", "(A)", "(B)", "(C)", "(D)", "A.", "B.", "C.", "D.", "Clearly", "option", "None"),
    *("a red dog", "A red cat", "dog", "'no'"),
]
_JOINTS = [" ", " ", ". ", ", ", ".", ",", "\n", "! ", ""]


def generated_answers(items, seed=0):
    """Return an answer for each item: "Yes" or "No", or one to four pieces of text that parsers look for."""
    rng = random.Random(seed)

    def one():
        if rng.random() < 0.3:
            return rng.choice(["Yes", "No"])
        answer = rng.choice(PIECES)
        for _ in range(rng.choice([0, 0, 1, 2, 3])):
            answer += rng.choice(_JOINTS) + rng.choice(PIECES)
        return answer + rng.choice(["", "", ".", "\n", " "])

    return {item.id: one() for item in items}


def scene_pope_files(folder, scenes=2, splits=SPLITS):
    """Write pictures of the scene world and POPE files about them, two questions for each scene and split."""
    from lime_xai.worlds import scene

    found = scene.evaluation_set(seed=900, scenes=scenes)
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(found.images):
        picture.save(folder / COCO.format(number), quality=95)
    files = {}
    for split in splits:
        asked = [
            next(one for one in found.questions if (one.scene, one.split, one.label) == (number, split, label))
            for number in range(scenes)
            for label in (True, False)
        ]
        records = [
            {
                "question_id": number,
                "image": COCO.format(one.scene),
                "text": scene.exists_question(one.obj),
                "label": "yes" if one.label else "no",
            }
            for number, one in enumerate(asked, start=1)
        ]
        files[split] = write_lines(folder / f"{split}.json", records)
    return files
