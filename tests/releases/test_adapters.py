"""LoRA adapters agree with `peft`, in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from collab.node.errors import UserError
from collab.node.modules.adapter import CONFIG, WEIGHTS, apply_adapter, check_adapter, extract_adapter

INPUT = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 7))


def trained(folder: Path, **options: Any) -> torch.Tensor:
    """Save an adapter by peft with matrices that are not zero, and return what the adapted model says."""
    adapted = get_peft_model(model(), LoraConfig(r=3, lora_alpha=5, target_modules=["0", "2"], **options))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    adapted.eval()
    adapted.save_pretrained(str(folder))
    said: torch.Tensor = adapted(INPUT)
    return said


def saved(module: nn.Module, path: Path) -> Path:
    save_file(module.state_dict(), path)
    return path


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}])
def test_an_adapter_of_peft_is_applied_as_peft_does(options: dict[str, Any], tmp_path: Path) -> None:
    expected = trained(tmp_path / "adapter", **options)
    changed = apply_adapter(saved(model(), tmp_path / "base"), tmp_path / "adapter", tmp_path / "merged")
    assert changed == 2
    merged = model()
    merged.load_state_dict(load_file(tmp_path / "merged"))
    torch.testing.assert_close(merged(INPUT), expected, rtol=1e-5, atol=1e-6)


def test_peft_loads_an_adapter_of_ours(tmp_path: Path) -> None:
    tuned = model()
    with torch.no_grad():
        tuned.get_parameter("2.weight").add_( torch.randn(7, 2) @ torch.randn(2, 20))
    base, after = saved(model(), tmp_path / "base"), saved(tuned, tmp_path / "tuned")
    assert extract_adapter(base, after, tmp_path / "adapter", 2) < 1e-6
    assert check_adapter(tmp_path / "adapter").pairs == {"2.weight": (7, 20)}
    loaded = PeftModel.from_pretrained(model(), str(tmp_path / "adapter"))
    torch.testing.assert_close(loaded(INPUT), tuned(INPUT), rtol=1e-4, atol=1e-5)


def test_a_rank_too_low_leaves_out_what_the_singular_values_say(tmp_path: Path) -> None:
    tuned = model()
    with torch.no_grad():
        tuned.get_parameter("0.weight")[0, 0] += 4.0
        tuned.get_parameter("0.weight")[1, 1] += 3.0
    lost = extract_adapter(saved(model(), tmp_path / "base"), saved(tuned, tmp_path / "tuned"), tmp_path / "adapter", 1)
    assert lost == pytest.approx(0.6, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"r": 4}, "no pair of LoRA matrices of rank 4"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"rank_pattern": {"0": 2}}, "rank_pattern"),
        ({"lora_alpha": 0}, "lora_alpha"),
    ],
)
def test_what_we_would_apply_otherwise_than_peft_is_refused(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    trained(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=why):
        check_adapter(tmp_path)


def test_other_tensors_and_no_tensors_are_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    save_file(load_file(tmp_path / WEIGHTS) | {"other": torch.zeros(1)}, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match="other is no pair of LoRA matrices"):
        check_adapter(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match="cannot read"):
        check_adapter(tmp_path)


def test_a_base_that_does_not_fit_and_a_change_that_is_no_matrix(tmp_path: Path) -> None:
    trained(tmp_path / "adapter")
    other = saved(nn.Sequential(nn.Linear(12, 21)), tmp_path / "other")
    with pytest.raises(UserError, match=r"has no 0\.weight of shape"):
        apply_adapter(other, tmp_path / "adapter", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    tuned = model()
    with torch.no_grad():
        tuned.get_parameter("0.bias").add_(1)
    with pytest.raises(UserError, match=r"0\.bias changed"):
        extract_adapter(saved(model(), tmp_path / "base"), saved(tuned, tmp_path / "tuned"), tmp_path / "out", 2)
