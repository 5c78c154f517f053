"""The authors' released code beside ours: their network, trained and sampled as their scripts do it."""

import copy
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["TEXT_TOKENS", "ReleasedSampling", "ReleasedTraining"]

TEXT_TOKENS = 256
"""Every caption is padded to so many."""
RECONSTRUCT = "x_clean"


def _module(checkout: str, name: str) -> ModuleType:
    sys.path.insert(0, checkout)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(checkout)


def _network(checkout: str, *, side: int, channels: int, width: int, depth: int, heads: int, classes: int) -> Any:
    return _module(checkout, "libs.uvit_t2i_label_pron").UViT(
        img_size=side,
        in_chans=channels,
        patch_size=2,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        clip_dim=768,
        num_clip_token=TEXT_TOKENS,
        num_classes=classes + 1,
    )


class ReleasedTraining:
    """One optimizer step: noise and reconstruction loss, AdamW, and an average updated weight by weight."""

    def __init__(self, checkout: str, device: torch.device, **sizes: int) -> None:
        self._network, self._device = _network(checkout, **sizes).to(device), device
        self._average = copy.deepcopy(self._network)
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=2e-4, weight_decay=0.03, betas=(0.9, 0.9))
        self._scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")

    def step(self, noisy: Tensor, noise: Tensor, step: Tensor, context: Tensor, label: Tensor) -> None:
        """Train on a batch whose contexts are padded; on a GPU under float16 autocast, as they run it."""
        with torch.autocast(self._device.type, torch.float16, enabled=self._device.type == "cuda"):
            predicted, reconstruction = self._network(noisy, step, context, label, **{RECONSTRUCT: noisy})
        loss = (predicted.float() - noise).square().mean() + reconstruction
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        now = dict(self._network.named_parameters())
        for name, weight in self._average.named_parameters():
            weight.data.mul_(0.9999).add_((1 - 0.9999) * now[name].data)


class ReleasedSampling:
    """Their DPM-Solver++, order 3 in single steps, with the two halves of guidance in two calls."""

    def __init__(self, checkout: str, device: torch.device, **sizes: int) -> None:
        self._network, self._device = _network(checkout, **sizes).to(device).eval(), device
        self._solvers = _module(checkout, "dpm_solver_pp")
        self._null = sizes["classes"]
        self.calls = 0

    @torch.no_grad()
    def sample(self, start: Tensor, context: Tensor, label: Tensor, empty: Tensor, evaluations: int) -> Tensor:
        """Clean latents; guidance with the paper's scale 1."""
        betas = np.linspace(0.00085**0.5, 0.0120**0.5, 1000) ** 2
        schedule = self._solvers.NoiseScheduleVP(schedule="discrete", betas=torch.tensor(betas).float())
        solver = self._solvers.DPM_Solver(self._guided(context, label, empty), schedule, predict_x0=True)
        latents: Tensor = solver.sample(start, steps=evaluations, eps=1 / 1000, T=1.0)
        return latents

    def _guided(self, context: Tensor, label: Tensor, empty: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        nothing, null = empty.expand(len(context), -1, -1), torch.full_like(label, self._null)

        def predict(noisy: Tensor, time: Tensor) -> Tensor:
            self.calls += 2
            conditional = self._network(noisy, time * 1000, context, label)
            return conditional + (conditional - self._network(noisy, time * 1000, nothing, null))

        return predict
