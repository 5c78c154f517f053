"""From requests to pictures: the engine, and the decoder in batches of the shapes that the engine uses.

What Sampler and exported pipelines share.
"""

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vapray.config import Config
from vapray.diffusion.engine import Engine
from vapray.diffusion.image_request import Conditions, ImageRequest
from vapray.diffusion.rota import fitting_size
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.latent_space import LatentSpace
from vapray.training.network import Network, build_schedule

__all__ = ["build_engine", "render"]


def build_engine(network: Network, config: Config, space: LatentSpace) -> Engine:
    """The engine of a network in inference mode, where its weights lie.

    Args:
        network: predicts noise.
        config: that it was trained with; section ``sample`` says in what calls and precision it is asked.
        space: its latents.
    """
    return Engine(
        network,
        build_schedule(config),
        Conditions(network.num_classes, network.context_width, network.max_context),
        latent_shape=(space.channels, space.side, space.side),
        batch_sizes=config.sample.batch_sizes,
        null_apart=config.sample.null_rows == "apart",
        precision=config.sample.precision,
        device=next(network.parameters()).device,
    )


def render(
    engine: Engine, requests: Sequence[ImageRequest], autoencoder: Autoencoder, space: LatentSpace
) -> NDArray[np.uint8]:
    """Pictures uint8 [n, H, W, 3] of these requests, whoever else the engine serves meanwhile.

    Raises:
        ValueError: a request that the network or the solver cannot take; none of them is computed then.
    """
    tickets = _submit(engine, requests)
    engine.run_until_done(tickets)
    latents, sizes = [ticket.result() for ticket in tickets], engine.batch_sizes
    most = sizes[-1]
    batches = (latents[at : at + most] for at in range(0, len(latents), most))
    return np.concatenate([_decode(batch, sizes, autoencoder, space) for batch in batches])


def _submit(engine: Engine, requests: Sequence[ImageRequest]) -> list[Future[Tensor]]:
    """All of them, or none."""
    tickets: list[Future[Tensor]] = []
    try:
        for request in requests:
            tickets.append(engine.submit(request))
    except ValueError:
        for ticket in tickets:
            ticket.cancel()
        raise
    return tickets


def _decode(
    latents: Sequence[Tensor], sizes: Sequence[int], autoencoder: Autoencoder, space: LatentSpace
) -> NDArray[np.uint8]:
    padding = fitting_size(len(latents), sizes) - len(latents)
    latents_BCHW = F.pad(torch.stack(list(latents)), (0, 0) * 3 + (0, padding))
    return autoencoder.decode(space.denormalise(latents_BCHW))[: len(latents)]
