"""Parameters, operations and activations of autoencoders, computed without building them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vapray.latents.kl_shape import KlShape

__all__ = ["NO_NETWORK", "AutoencoderSize", "kl_size", "pca_size", "tiny_size"]


@dataclass(frozen=True)
class AutoencoderSize:
    """Size of an autoencoder.

    Attributes:
        parameters: number of parameters of encoder and decoder.
        encoder_flops: floating-point operations to encode one image.
        decoder_flops: floating-point operations to decode one latent.
        kept_values: number of activations per image that a backward pass needs.
        widest_values: number of values of the largest activation per image.
    """

    parameters: int
    encoder_flops: int
    decoder_flops: int
    kept_values: int
    widest_values: int


NO_NETWORK = AutoencoderSize(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class _Layer:
    parameters: int
    flops: int
    kept: int
    widest: int


def kl_size(shape: KlShape, side: int) -> AutoencoderSize:
    """Compute the size of an ``AutoencoderKL`` for images of ``side`` pixels."""
    return _size(list(_kl_encoder(shape, side)), list(_kl_decoder(shape, side // shape.factor)))


def tiny_size(side: int, channels: int = 32, width: int = 64) -> AutoencoderSize:
    """Compute the size of TAEF2 for images of ``side`` pixels."""
    sides = [side, side // 2, side // 4, side // 8]
    encoder = [_convolution(3, width, 3, side), *_tiny_block(width, side)]
    decoder = [_convolution(channels, width, 3, sides[3])]
    for level in (1, 2, 3):
        encoder += [_convolution(width, width, 3, sides[level], bias=False)]
        encoder += [layer for _ in range(3) for layer in _tiny_block(width, sides[level], normed=level == 3)]
    for level in (3, 2, 1):
        decoder += [layer for _ in range(3) for layer in _tiny_block(width, sides[level], normed=level == 3)]
        decoder += [_convolution(width, width, 3, sides[level - 1], bias=False)]
    encoder += [_convolution(width, channels, 3, sides[3])]
    decoder += [*_tiny_block(width, side), _convolution(width, 3, 3, side)]
    return _size(encoder, decoder)


def pca_size(side: int, channels: int, factor: int) -> AutoencoderSize:
    """Compute the size of principal components of patches for images of ``side`` pixels."""
    latent_side, values = side // factor, 3 * factor**2
    flops, latent = 2 * values * channels * latent_side**2, channels * latent_side**2
    return AutoencoderSize(2 * values * channels + channels + 3, flops, flops, latent, max(latent, 3 * side**2))


def _size(encoder: Sequence[_Layer], decoder: Sequence[_Layer]) -> AutoencoderSize:
    layers = [*encoder, *decoder]
    return AutoencoderSize(
        parameters=sum(layer.parameters for layer in layers),
        encoder_flops=sum(layer.flops for layer in encoder),
        decoder_flops=sum(layer.flops for layer in decoder),
        kept_values=sum(layer.kept for layer in layers),
        widest_values=max(layer.widest for layer in layers),
    )


def _convolution(
    inputs: int, outputs: int, kernel: int, side: int, *, normed: bool = False, bias: bool = True
) -> _Layer:
    """Compute the size of a convolution with output ``side``, optionally after a norm."""
    return _Layer(
        parameters=kernel**2 * inputs * outputs + outputs * bias + 2 * inputs * normed,
        flops=2 * kernel**2 * inputs * outputs * side**2,
        kept=inputs * side**2 * (3 if normed else 1),
        widest=max(inputs, outputs) * side**2,
    )


def _attention(width: int, side: int) -> _Layer:
    """Compute the size of a norm and self-attention over all positions."""
    tokens = side**2
    return _Layer(
        parameters=4 * (width**2 + width) + 2 * width,
        flops=8 * tokens * width**2 + 4 * tokens**2 * width,
        kept=6 * tokens * width,
        widest=width * tokens,
    )


def _kl_encoder(shape: KlShape, side: int) -> Iterator[_Layer]:
    widths, channels = shape.widths, shape.channels
    yield _convolution(3, widths[0], 3, side)
    for level, (inputs, outputs) in enumerate(pairwise([widths[0], *widths])):
        yield from _residuals(shape.layers, inputs, outputs, side >> level)
        if level < len(widths) - 1:
            yield _convolution(outputs, outputs, 3, side >> (level + 1))
    coarse = side >> (len(widths) - 1)
    yield from _middle(shape, coarse)
    yield _convolution(widths[-1], 2 * channels, 3, coarse, normed=True)
    yield _convolution(2 * channels, 2 * channels, 1, coarse)


def _kl_decoder(shape: KlShape, latent_side: int) -> Iterator[_Layer]:
    widths, channels = shape.widths, shape.channels
    yield _convolution(channels, channels, 1, latent_side)
    yield _convolution(channels, widths[-1], 3, latent_side)
    yield from _middle(shape, latent_side)
    for level, (inputs, outputs) in enumerate(pairwise([widths[-1], *reversed(widths)])):
        yield from _residuals(shape.layers + 1, inputs, outputs, latent_side << level)
        if level < len(widths) - 1:
            yield _convolution(outputs, outputs, 3, latent_side << (level + 1))
    yield _convolution(widths[0], 3, 3, latent_side << (len(widths) - 1), normed=True)


def _middle(shape: KlShape, side: int) -> Iterator[_Layer]:
    width = shape.widths[-1]
    yield from _residuals(2, width, width, side)
    if shape.attention:
        yield _attention(width, side)


def _residuals(count: int, inputs: int, outputs: int, side: int) -> Iterator[_Layer]:
    """List residual blocks of two convolutions; the first block changes the width."""
    for width in [inputs] + [outputs] * (count - 1):
        yield _convolution(width, outputs, 3, side, normed=True)
        yield _convolution(outputs, outputs, 3, side, normed=True)
        if width != outputs:
            yield _convolution(width, outputs, 1, side)


def _tiny_block(width: int, side: int, *, normed: bool = False) -> Iterator[_Layer]:
    for _ in range(3):
        yield _convolution(width, width, 3, side)
    if normed:
        yield _convolution(width, 4 * width, 1, side, bias=False)
        yield _convolution(4 * width, width, 1, side, normed=True, bias=False)
