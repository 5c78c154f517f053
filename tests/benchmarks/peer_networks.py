"""Other projects' networks, objectives and samplers behind one interface; each is imported when it is built.

Batches have 32 images, mirrored at random, of classes drawn alike; the model without classes draws images alike. Sizes
are those that a core trains in minutes, near the parameters of jobs/configs/isic2018_small.yaml. Objectives, networks,
optimizers and samplers are the projects'; diffusion models draw with 25 steps of the project's own fast sampler and
averaged weights. What a run of minutes needs is the same for all: learning rates rise over 5 % of the time and fall to
zero over its second half, averages begin with a low decay, and products of training are bfloat16 on CPUs with units for
it. Images are drawn in float32, since bfloat16 noise predictions leave no clean image at the highest noise levels. The
GAN keeps its library's constant rate and float32, for which its spectral norms and hinge loss are made.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.peer_training import BATCH, CPU, SAMPLING_STEPS, SIDE, Peer, Steps, TrainingImages, drawn
from tests.benchmarks.training_arm import Images

__all__ = ["PEERS"]


class ReleasedUViT:
    """The U-ViT of its authors (github.com/baofff/U-ViT), its VP-SDE, loss and DPM-Solver.

    Args:
        training: training images.
        learning_rate: learning rate; theirs is 2e-4.
        seed: seed of weights and batches.
        checkout: folder with their ``libs``, ``sde.py`` and ``dpm_solver_pp.py``.
    """

    classes = True

    def __init__(self, training: TrainingImages, learning_rate: float, seed: int, checkout: Path) -> None:
        sys.path.insert(0, str(checkout))
        self._sde, self._solver = importlib.import_module("sde"), importlib.import_module("dpm_solver_pp")
        shape = {"img_size": SIDE, "patch_size": 4, "embed_dim": 128, "depth": 4, "num_heads": 2, "mlp_ratio": 4}
        self.network = importlib.import_module("libs.uvit").UViT(**shape, num_classes=training.num_classes)
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=learning_rate, weight_decay=0.03, betas=(0.99, 0.99)
        )
        self._steps = Steps(self.network, optimizer)
        self._score = self._sde.ScoreModel(self.network, pred="noise_pred", sde=self._sde.VPSDE())
        self._batches = training.batches(seed)

    def step(self, share: float) -> None:
        """Take a step of the schedule."""
        images, labels = next(self._batches)
        self._steps.take(share, lambda: self._sde.LSimple(self._score, images, pred="noise_pred", y=labels).mean())

    def generate(self, labels: Sequence[int]) -> Images:
        """Draw an image of each class."""
        score = self._sde.ScoreModel(self._steps.averaged.eval(), pred="noise_pred", sde=self._sde.VPSDE())
        schedule = self._solver.NoiseScheduleVP(schedule="linear")

        def draw(some: Tensor) -> Tensor:
            model = self._solver.model_wrapper(
                score.noise_pred, schedule, time_input_type="0", model_kwargs={"y": some}
            )
            solver = self._solver.DPM_Solver(model, schedule)
            noise = torch.randn(len(some), 3, SIDE, SIDE)
            drawn: Tensor = solver.sample(noise, steps=SAMPLING_STEPS, eps=1e-4)
            return drawn

        return drawn(labels, draw)


class DenoisingDiffusion:
    """``denoising-diffusion-pytorch`` with its guidance: U-Net, cosine schedule, noise prediction, DDIM.

    Args:
        training: training images.
        learning_rate: learning rate of Adam; its trainer's is 8e-5.
        seed: seed of weights and batches.
    """

    classes = True

    def __init__(self, training: TrainingImages, learning_rate: float, seed: int) -> None:
        guided = importlib.import_module("denoising_diffusion_pytorch.classifier_free_guidance")
        self.network = guided.Unet(dim=16, num_classes=training.num_classes, cond_drop_prob=0.1)
        settings = {"image_size": SIDE, "sampling_timesteps": SAMPLING_STEPS, "ddim_sampling_eta": 0.0}
        self._diffusion = guided.GaussianDiffusion(self.network, **settings)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate, betas=(0.9, 0.99))
        self._steps, self._batches = Steps(self.network, optimizer), training.batches(seed)

    def step(self, share: float) -> None:
        """Take a step of the schedule."""
        images, labels = next(self._batches)
        self._steps.take(share, lambda: self._diffusion((images + 1) / 2, classes=labels))

    def generate(self, labels: Sequence[int]) -> Images:
        """Draw an image of each class, with guidance."""
        self._diffusion.model = self._steps.averaged.eval()
        return drawn(labels, lambda some: 2 * self._diffusion.sample(classes=some, cond_scale=2.0) - 1)


class DiffusersExample:
    """The unconditional training example of diffusers with classes: U-Net, linear schedule, averaged weights, DDIM.

    Args:
        training: training images.
        learning_rate: learning rate of AdamW; the example's is 1e-4.
        seed: seed of weights and batches.
    """

    classes = True

    def __init__(self, training: TrainingImages, learning_rate: float, seed: int) -> None:
        diffusers: Any = importlib.import_module("diffusers")
        self.network: nn.Module = diffusers.UNet2DModel(
            sample_size=SIDE,
            layers_per_block=2,
            block_out_channels=(16, 16, 32, 32, 64, 64),
            norm_num_groups=8,
            down_block_types=(*4 * ["DownBlock2D"], "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", *4 * ["UpBlock2D"]),
            num_class_embeds=training.num_classes,
        )
        self._schedule = diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        self._solver = diffusers.DDIMScheduler.from_config(self._schedule.config)
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=learning_rate, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
        )
        self._steps, self._batches = Steps(self.network, optimizer), training.batches(seed)

    def step(self, share: float) -> None:
        """Take a step of the schedule."""
        images, labels = next(self._batches)
        noise, times = torch.randn_like(images), torch.randint(0, 1000, (BATCH,))
        noisy = self._schedule.add_noise(images, noise, times)

        def loss() -> Tensor:
            return nn.functional.mse_loss(self.network(noisy, times, class_labels=labels).sample.float(), noise)

        self._steps.take(share, loss)

    def generate(self, labels: Sequence[int]) -> Images:
        """Draw an image of each class."""
        network = self._steps.averaged.eval()
        self._solver.set_timesteps(SAMPLING_STEPS)

        def draw(some: Tensor) -> Tensor:
            images = torch.randn(len(some), 3, SIDE, SIDE)
            for time in self._solver.timesteps:
                predicted = network(images, time.expand(len(some)), class_labels=some).sample
                images = self._solver.step(predicted.float(), time, images).prev_sample
            return images

        return drawn(labels, draw)


class SpectralGAN:
    """SNGAN of ``torch-mimicry``: hinge loss, five steps of the discriminator for one of the generator; no classes.

    Args:
        training: training images.
        learning_rate: learning rate of both Adams; the library's is 2e-4.
        seed: seed of weights and batches.
    """

    classes = False

    def __init__(self, training: TrainingImages, learning_rate: float, seed: int) -> None:
        # The library's metrics and datasets, which are not used here, import TensorFlow and parts of an old torch.
        for unused in ("torch_mimicry.metrics", "torch_mimicry.datasets"):
            sys.modules.setdefault(unused, ModuleType(unused))
        networks = importlib.import_module("torch_mimicry.nets.sngan.sngan_64")
        self._log = importlib.import_module("torch_mimicry.training.metric_log").MetricLog
        self.network = networks.SNGANGenerator64(ngf=256)
        self._discriminator = networks.SNGANDiscriminator64(ndf=256)
        self._optimizers = [
            torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.0, 0.9))
            for network in (self.network, self._discriminator)
        ]
        self._batches = training.batches(seed, alike=False)

    def step(self, share: float) -> None:
        """Take five steps of the discriminator and one of the generator; ``share`` has no effect."""
        both: dict[str, Any] = {"log_data": self._log(), "device": CPU}
        for _ in range(5):
            self._discriminator.train_step(next(self._batches), self.network, self._optimizers[1], **both)
        self.network.train_step(next(self._batches), self._discriminator, self._optimizers[0], **both)

    def generate(self, labels: Sequence[int]) -> Images:
        """Draw as many images."""
        self.network.eval()
        return drawn(labels, lambda some: self.network.generate_images(len(some), device=CPU))


PEERS: dict[str, tuple[Callable[..., Peer], float]] = {
    "U-ViT": (ReleasedUViT, 2e-4),
    "denoising-diffusion-pytorch": (DenoisingDiffusion, 8e-5),
    "diffusers": (DiffusersExample, 1e-4),
    "SNGAN": (SpectralGAN, 2e-4),
}
"""Peers, and the learning rates of their own files."""
