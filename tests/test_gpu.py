"""What must hold on a CUDA device: same answers as on the CPU, nothing moved, no host in the loop."""

import copy

import pytest
import torch
from support.families import FAMILIES

import lime_xai
from lime_xai import Edit

pytestmark = pytest.mark.gpu


def on(device, model, inputs, dtype=torch.float32):
    moved = {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in inputs.items()}
    return copy.deepcopy(model).to(device, dtype), moved


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "gemma3", "qwen2_audio"])
def test_relevance_is_that_of_the_cpu(family):
    model, inputs, _ = FAMILIES[family].build()
    wanted = lime_xai.attribute(model, inputs, target=7).relevance
    found = lime_xai.attribute(*on("cuda", model, inputs), target=7).relevance
    assert torch.allclose(found.cpu(), wanted, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("policy", [Edit(), Edit.paper(learning_rate=0.01), Edit.paper("cache", 0.01)])
def test_editing_runs_and_stays_on_the_device(policy, dtype):
    model, inputs, _ = FAMILIES["llava"].build()
    output = lime_xai.steer(*on("cuda", model, inputs, dtype), policy, max_new_tokens=4, do_sample=False)
    assert output.sequences.is_cuda
    assert all(step.losses.is_cuda and bool(step.losses.isfinite().all()) for step in output.trace.steps)


def test_no_step_waits_for_the_host():
    model, inputs, _ = FAMILIES["llava"].build()
    model, inputs = on("cuda", model, inputs)
    seen = []

    class Watched(Edit):
        def step(self, step):
            torch.cuda.set_sync_debug_mode("error")
            try:
                logits = super().step(step)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            seen.append(step.index)
            return logits

    lime_xai.steer(model, inputs, Watched(), max_new_tokens=3, do_sample=False)
    assert seen == [0, 1, 2]
