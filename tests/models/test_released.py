"""Our U-ViT with every released option answers as the authors' released code, from that code's own weights.

The code itself is asked where VAPRAY_RELEASED_CODE names a checkout of it. Elsewhere its two networks are written down
once more in a few lines, from the paper and the code's layout: enough to tell every weight's name, shape and place.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vapray.models.released_weights import is_released, released_uvit, renamed
from vapray.models.tokens import sinusoid
from vapray.models.uvit import UViT

SIZES = {"img_size": 8, "in_chans": 4, "patch_size": 2, "embed_dim": 32, "depth": 4, "num_heads": 4}
TEXT = {"clip_dim": 12, "num_clip_token": 16, "num_classes": 4}


def weights_of_the_layout(*, prototypes: bool) -> dict[str, Tensor]:
    """Random weights under the released names."""
    torch.manual_seed(0)
    width, patches = 32, 16
    linear = lambda name, taken, given, bias=True: {  # noqa: E731
        f"{name}.weight": torch.randn(given, taken) / taken**0.5,
        **({f"{name}.bias": torch.randn(given)} if bias else {}),
    }
    norm = lambda name: {f"{name}.weight": torch.randn(width), f"{name}.bias": torch.randn(width)}  # noqa: E731
    weights = {
        "pos_embed": torch.randn(1, 1 + (not prototypes) + 16 + patches, width),
        "patch_embed.proj.weight": torch.randn(width, 4, 2, 2),
        "patch_embed.proj.bias": torch.randn(width),
        **linear("context_embed", 12, width),
        **norm("norm"),
        **linear("decoder_pred", width, 16),
        "final_layer.weight": torch.randn(4, 4, 3, 3),
        "final_layer.bias": torch.randn(4),
    }
    for block in ("in_blocks.0", "in_blocks.1", "mid_block", "out_blocks.0", "out_blocks.1"):
        weights |= norm(f"{block}.norm1") | norm(f"{block}.norm2")
        weights |= linear(f"{block}.attn.qkv", width, 3 * width, bias=False) | linear(
            f"{block}.attn.proj", width, width
        )
        weights |= linear(f"{block}.mlp.fc1", width, 4 * width) | linear(f"{block}.mlp.fc2", 4 * width, width)
        if block.startswith("out"):
            weights |= linear(f"{block}.skip_linear", 2 * width, width)
    if not prototypes:
        return weights | {"label_emb.weight": torch.randn(4, width)}
    weights["prototype.weight"] = torch.randn(4, 2 * patches * width)
    for name in "qkv":
        weights |= linear(name, width, width)
        weights |= linear(f"Q_former.attn.{name}l", width, width, bias=False)
    for name in ("norm1", "norm2", "normp"):
        weights |= norm(f"Q_former.{name}")
    weights |= linear("Q_former.attn.proj", width, width)
    weights |= linear("Q_former.mlp.fc1", width, 4 * width) | linear("Q_former.mlp.fc2", 4 * width, width)
    for name in ("z1", "z2"):
        weights |= linear(f"Q_former.{name}", width, width, bias=False)
    return weights


class WrittenDown:
    """The released forward pass on a state dict, one operation after the other."""

    def __init__(self, weights: dict[str, Tensor], num_heads: int = 4) -> None:
        self._weights, self._num_heads = weights, num_heads

    def __call__(self, noisy: Tensor, step: Tensor, context: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        get = self._weights
        patches = F.conv2d(noisy, get["patch_embed.proj.weight"], get["patch_embed.proj.bias"], stride=2)
        tokens = [sinusoid(step, 32)[:, None], self._linear("context_embed", context), patches.flatten(2).mT]
        if "label_emb.weight" in get:
            tokens.insert(1, get["label_emb.weight"][label][:, None])
        x = torch.cat(tokens, dim=1) + get["pos_embed"]
        skips = []
        for place in range(2):
            x = self._block(f"in_blocks.{place}", x)
            skips.append(x)
        x, loss = self._block("mid_block", x), None
        if "prototype.weight" in get:
            memory = get["prototype.weight"][label].view(len(label), -1, 32)
            query = self._linear("q", x)
            rebuilt = self._attend(query, self._linear("k", memory), self._linear("v", memory))
            loss = 0.5 * (rebuilt - query).square().mean()
            asked = {"ql": x, "kl": memory, "vl": memory}
            found = self._attend(*(self._linear(f"Q_former.attn.{name}", of) for name, of in asked.items()))
            x = x + self._linear("Q_former.z1", self._linear("Q_former.attn.proj", found))
            x = x + self._linear("Q_former.z2", self._mlp("Q_former", x))
        for place in range(2):
            x = self._linear(f"out_blocks.{place}.skip_linear", torch.cat([x, skips.pop()], dim=-1))
            x = self._block(f"out_blocks.{place}", x)
        x = self._linear("decoder_pred", self._norm("norm", x)[:, -16:])
        image = x.view(-1, 4, 4, 2, 2, 4).permute(0, 5, 1, 3, 2, 4).reshape(-1, 4, 8, 8)
        return F.conv2d(image, get["final_layer.weight"], get["final_layer.bias"], padding=1), loss

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (32,), self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _mlp(self, name: str, x: Tensor) -> Tensor:
        return self._linear(f"{name}.mlp.fc2", F.gelu(self._linear(f"{name}.mlp.fc1", self._norm(f"{name}.norm2", x))))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (x.unflatten(-1, (self._num_heads, -1)).transpose(1, 2) for x in (query, key, value))
        weight = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return (weight @ v).transpose(1, 2).flatten(2)

    def _block(self, name: str, x: Tensor) -> Tensor:
        query, key, value = self._linear(f"{name}.attn.qkv", self._norm(f"{name}.norm1", x)).chunk(3, dim=-1)
        x = x + self._linear(f"{name}.attn.proj", self._attend(query, key, value))
        return x + self._mlp(name, x)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(3, 4, 8, 8), torch.tensor([1, 500, 1000]), torch.randn(3, 16, 12), torch.tensor([0, 2, 3])


def ours(weights: dict[str, Tensor], batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    noisy, step, context, label = batch
    answer = released_uvit(weights, num_heads=4, max_context=16)(noisy, step, label, context, torch.full((3,), 16))
    return answer.output_BCHW, answer.reconstruction_B.mean()


@pytest.mark.parametrize("prototypes", [True, False])
def test_from_the_released_weights_comes_the_released_answer(prototypes: bool, batch: tuple[Tensor, ...]) -> None:
    weights = weights_of_the_layout(prototypes=prototypes)
    noise, loss = WrittenDown(weights)(*batch)
    answer, reconstruction = ours(weights, batch)
    torch.testing.assert_close(answer, noise, rtol=1e-5, atol=1e-5 * noise.abs().max().item())
    if loss is not None:
        torch.testing.assert_close(reconstruction, loss, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prototypes", [True, False])
def test_a_row_without_condition_reads_the_empty_text_and_the_null_class(
    prototypes: bool, batch: tuple[Tensor, ...]
) -> None:
    weights, (noisy, step, context, label) = weights_of_the_layout(prototypes=prototypes), batch
    empty = torch.randn(16, 12)
    expected, _ = WrittenDown(weights)(noisy, step, empty.expand(3, -1, -1), torch.full_like(label, 3))
    model = released_uvit(weights, num_heads=4, max_context=16)
    assert model.text is not None
    model.text.empty_context.copy_(empty)
    for tokens in (16, 5, 0):  # what the dropped caption was does not matter, nor its length
        lengths, drop = torch.full((3,), tokens), torch.ones(3, dtype=torch.bool)
        answer = model(noisy, step, label, context[:, :tokens], lengths, drop)
        torch.testing.assert_close(answer.output_BCHW, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


@pytest.fixture
def released_code() -> Iterator[Any]:
    """The package ``libs`` of a checkout."""
    place = os.environ.get("VAPRAY_RELEASED_CODE")
    if not place:
        pytest.skip("VAPRAY_RELEASED_CODE names no checkout of the released code")
    pytest.importorskip("einops", reason="the released code needs einops")
    sys.path.insert(0, str(Path(place)))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(Path(place)))


@pytest.mark.parametrize("name", ["uvit_t2i_label_pron", "uvit_t2i_label"])
def test_the_released_code_itself_answers_alike(name: str, released_code: Any, batch: tuple[Tensor, ...]) -> None:
    noisy, step, context, label = batch
    torch.manual_seed(2)
    theirs = released_code(f"libs.{name}").UViT(**SIZES, **TEXT).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            nn.init.normal_(weight, std=0.2)
        if name.endswith("pron"):
            noise, loss = theirs(noisy, step, context, label, x_clean=noisy)
        else:
            noise, loss = theirs(noisy, step, context, label), None
    answer, reconstruction = ours(theirs.state_dict(), batch)
    torch.testing.assert_close(answer, noise, rtol=1e-5, atol=1e-5)
    if loss is not None:
        torch.testing.assert_close(reconstruction, loss, rtol=1e-5, atol=1e-5)


def test_weights_of_other_networks_are_refused() -> None:
    weights = weights_of_the_layout(prototypes=True)
    assert is_released(weights) and not is_released(renamed(weights))
    with pytest.raises(ValueError, match=r"time_embed\.0\.weight: not a weight of the released networks"):
        released_uvit(weights | {"time_embed.0.weight": torch.zeros(1)}, num_heads=4, max_context=16)
    with pytest.raises(ValueError, match="33 positions do not fit 15 text tokens"):
        released_uvit(weights, num_heads=4, max_context=15)


def test_the_weights_become_one_network(batch: tuple[Tensor, ...]) -> None:
    model = released_uvit(weights_of_the_layout(prototypes=True), num_heads=4, max_context=16)
    assert isinstance(model, UViT)
    assert (model.width, model.num_classes, model.latent_channels, model.patch_size) == (32, 3, 4, 2)
    assert len(model.in_blocks) == len(model.out_blocks) == 2
