"""From requests to pictures: the engine, and the decoder in batches of the shapes that the engine uses."""

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vapray.diffusion.engine import Engine
from vapray.diffusion.image_request import ImageRequest
from vapray.diffusion.rota import fitting_size
from vapray.latents.autoencoder import Autoencoder
from vapray.latents.latent_space import LatentSpace

__all__ = ["render"]


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
