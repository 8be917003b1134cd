"""Norms in one kernel: only where that is the same norm."""

import pytest
import tiny_models
import torch
import transformers

from rmcheck.models.engines.torch.accelerator import free_memory, fuse_norms


def body(kind, dtype):
    """A decoder with weights of its own in every norm."""
    torch.manual_seed(0)
    found = transformers.AutoModel.from_config(tiny_models.decoder_config(kind), dtype=dtype)
    with torch.no_grad():
        for module in found.modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.weight.add_(torch.rand(module.weight.shape, dtype=dtype))
    return found.eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kind", "a_layer"), [("llama", 2), ("qwen3", 4), ("gemma3", 0)])
def test_norms_of_the_plain_formula_are_fused_and_others_kept(kind, a_layer, dtype):
    """Llama's and Qwen's, on heads too; Gemma's weights are off by one."""
    model = body(kind, dtype)
    ids = torch.arange(10, 60)[None]
    with torch.inference_mode():
        before = model(ids).last_hidden_state
        fused = fuse_norms(model)
        after = model(ids).last_hidden_state

    assert fused == (a_layer * model.config.num_hidden_layers + 1 if a_layer else 0)
    apart = float((after.double() - before.double()).norm() / before.double().norm())
    assert apart < (1e-5 if dtype is torch.float32 else 0.02)


def test_norms_without_weights_are_kept():
    """What has no weight or no epsilon is none of ours."""

    class BareRMSNorm(torch.nn.Module):
        def forward(self, states):
            return states

    assert fuse_norms(torch.nn.Sequential(BareRMSNorm())) == 0


def test_free_memory_is_what_the_device_and_torch_have_to_spare(monkeypatch):
    """What torch holds without need serves the next batch as well as what the device has left."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (8 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 << 30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 << 30)

    assert free_memory(torch.device("cuda")) == 10 << 30
