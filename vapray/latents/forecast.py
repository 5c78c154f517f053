"""What encoding pictures would cost, and the arithmetic of the small autoencoder without building it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vapray.config import Config
from vapray.data.forecast import reading_seconds
from vapray.forecast import WORKSPACE_BYTES, Forecast, Outlook, flop_rate, of_pool, part_overhead

__all__ = ["OF_CONVOLUTIONS", "AutoencoderSize", "autoencoder_size", "forecast"]

# Of the rate of matrix products, what small convolutions reach.
OF_CONVOLUTIONS = 0.55
# What float16 moments lose to compression.
PACKED = 0.85
# A convolution's input, its normalised and activated copies, and its output lie in memory at once.
PLANES_AT_ONCE = 4


@dataclass(frozen=True)
class AutoencoderSize:
    """Of the networks that ``kl_network.build_autoencoder`` builds; zeros for pixels.

    Attributes:
        parameters: of both halves.
        encoder_flops: for one picture.
        decoder_flops: for one latent.
        kept_values: activations of one picture that a backward pass needs.
        widest_values: values of the largest activation of one picture.
    """

    parameters: int
    encoder_flops: int
    decoder_flops: int
    kept_values: int
    widest_values: int


@dataclass(frozen=True)
class _Convolution:
    inputs: int
    outputs: int
    kernel: int
    side: int
    normed: bool = False

    @property
    def parameters(self) -> int:
        return self.kernel**2 * self.inputs * self.outputs + self.outputs + 2 * self.inputs * self.normed

    @property
    def flops(self) -> int:
        return 2 * self.kernel**2 * self.inputs * self.outputs * self.side**2

    @property
    def kept(self) -> int:
        return self.inputs * self.side**2 * (3 if self.normed else 1)


def autoencoder_size(config: Config) -> AutoencoderSize:
    """Of the autoencoder of a run."""
    settings = config.autoencoder
    if settings.kind == "pixels":
        return AutoencoderSize(0, 0, 0, 0, 0)
    levels = settings.factor.bit_length()
    widths = [settings.width * min(4, 2**level) for level in range(levels)]
    encoder = list(_encoder(widths, settings.channels, config.data.image_size))
    decoder = list(_decoder(widths, settings.channels, config.latent_side))
    layers = [*encoder, *decoder]
    return AutoencoderSize(
        parameters=sum(layer.parameters for layer in layers),
        encoder_flops=sum(layer.flops for layer in encoder),
        decoder_flops=sum(layer.flops for layer in decoder),
        kept_values=sum(layer.kept for layer in layers),
        widest_values=max(max(layer.inputs, layer.outputs) * layer.side**2 for layer in layers),
    )


def forecast(outlook: Outlook) -> Forecast:
    """Each picture and its mirror image, 1:2; moments are 2C x h x w float16 values."""
    config, pictures = outlook.config, outlook.rows["images"]
    pool, size = config.pools.encode, autoencoder_size(config)
    workers, device = of_pool(pool)
    rate, basis = flop_rate(device)
    channels = 3 if config.autoencoder.kind == "pixels" else config.autoencoder.channels
    moments = 2 * channels * config.latent_side**2 * 2
    frame, encoding = 3 * config.data.image_size**2, 2 * size.encoder_flops / (rate * OF_CONVOLUTIONS)
    return Forecast(
        rows=2 * pictures,
        part_bytes=2 * pictures * (moments * PACKED + 20) + part_overhead(pictures, pool),
        file_bytes=0,
        startup_seconds=5.0,
        work_seconds=pictures * (reading_seconds(outlook.images) + encoding) / workers,
        peak_bytes=WORKSPACE_BYTES
        + 4 * size.parameters
        + pool.batch_rows * (frame * 6 + 4 * PLANES_AT_ONCE * size.widest_values),
        workers=workers,
        device=device,
        basis=basis,
    )


def _encoder(widths: Sequence[int], channels: int, side: int) -> Iterator[_Convolution]:
    yield _Convolution(3, widths[0], 3, side)
    for level, (inputs, outputs) in enumerate(pairwise([widths[0], *widths])):
        yield from _residual(inputs, outputs, side >> level)
        if level < len(widths) - 1:
            yield _Convolution(outputs, outputs, 3, side >> (level + 1))
    coarse = side >> (len(widths) - 1)
    yield from _middle(widths[-1], coarse)
    yield _Convolution(widths[-1], 2 * channels, 3, coarse, normed=True)
    yield _Convolution(2 * channels, 2 * channels, 1, coarse)


def _decoder(widths: Sequence[int], channels: int, latent_side: int) -> Iterator[_Convolution]:
    yield _Convolution(channels, channels, 1, latent_side)
    yield _Convolution(channels, widths[-1], 3, latent_side)
    yield from _middle(widths[-1], latent_side)
    for level, (inputs, outputs) in enumerate(pairwise([widths[-1], *reversed(widths)])):
        yield from _residual(inputs, outputs, latent_side << level)
        yield from _residual(outputs, outputs, latent_side << level)
        if level < len(widths) - 1:
            yield _Convolution(outputs, outputs, 3, latent_side << (level + 1))
    yield _Convolution(widths[0], 3, 3, latent_side << (len(widths) - 1), normed=True)


def _middle(width: int, side: int) -> Iterator[_Convolution]:
    yield from _residual(width, width, side)
    yield from _residual(width, width, side)


def _residual(inputs: int, outputs: int, side: int) -> Iterator[_Convolution]:
    yield _Convolution(inputs, outputs, 3, side, normed=True)
    yield _Convolution(outputs, outputs, 3, side, normed=True)
    if inputs != outputs:
        yield _Convolution(inputs, outputs, 1, side)
