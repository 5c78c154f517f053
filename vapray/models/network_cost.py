"""Parameters, operations and activations of the networks, computed without torch for forecasts."""

from collections.abc import Iterator
from dataclasses import dataclass

from vapray.bank.forecast import context_width, tokens_of_a_caption
from vapray.config import Config
from vapray.models.condition_size import MLP_RATIO, condition_size, parameters_of_qk_norm, swiglu_width

__all__ = ["NetworkCost", "network_cost"]

# Activations kept for the backward pass of one block, in token widths: both norms and their inputs, queries, keys,
# values, the attention's output, and the MLP's hidden layer before and after its GELU; an out-block also merges.
KEPT_OF_A_BLOCK, KEPT_OF_A_MERGE = 17, 3
# The same for diffusers' U-Net, in channels of a pixel: norm, activation and convolution twice, and the residual sum.
KEPT_OF_A_RESIDUAL, KEPT_OF_AN_ATTENTION = 8, 7
SINUSOID_OF_DIT = 256


@dataclass(frozen=True)
class NetworkCost:
    """Size of the network that ``training.network.build_network`` builds.

    Attributes:
        parameters: number of parameters.
        flops: floating-point operations of one forward pass of one image.
        kept_values: number of activations per image that a backward pass needs.
        passing_values: peak number of values per image in a forward pass without a backward pass.
    """

    parameters: int
    flops: int
    kept_values: int
    passing_values: int


def network_cost(config: Config, num_classes: int) -> NetworkCost:
    """Compute the size of a run's network."""
    if config.model.network == "unet":
        return _unet(config, num_classes)
    return _dit(config, num_classes) if config.model.network == "dit" else _uvit(config, num_classes)


def _uvit(config: Config, num_classes: int) -> NetworkCost:
    width, depth, patches = config.model.width, config.model.depth, _patches(config)
    tokens = 1 + _label_tokens(config) + patches
    tokens += tokens_of_a_caption(config) if config.model.condition == "caption" else 0
    kept = KEPT_OF_A_BLOCK * (depth + 1) + KEPT_OF_A_MERGE * (depth // 2)
    condition = condition_size(config, num_classes=num_classes, patches=patches, tokens=tokens)
    return NetworkCost(
        parameters=_parameters_of_uvit(config, num_classes, patches) + condition.parameters,
        flops=_flops_of_uvit(config, tokens) + condition.flops,
        kept_values=kept * tokens * width + condition.kept_values,
        passing_values=(depth // 2 + 2 * MLP_RATIO + 6) * tokens * width,
    )


def _dit(config: Config, num_classes: int) -> NetworkCost:
    """Compute the size of diffusers' DiT, in which every block embeds step and class separately."""
    width, depth, patches, channels = config.model.width, config.model.depth, _patches(config), _channels(config)
    square, patch_values = width**2, channels * config.model.patch_size**2
    embedding = (SINUSOID_OF_DIT + 1) * width + square + width + (num_classes + 1) * width
    block = embedding + 6 * (square + width) + 4 * (square + width) + 2 * MLP_RATIO * square + (MLP_RATIO + 1) * width
    ends = (patch_values + 1) * width + 2 * (square + width) + (width + 1) * patch_values
    moved = 2 * patches * (4 + 2 * MLP_RATIO) * square + 4 * patches**2 * width
    return NetworkCost(
        parameters=depth * block + ends,
        flops=depth * (moved + 2 * (7 * square + SINUSOID_OF_DIT * width)) + 4 * patches * patch_values * width,
        kept_values=(KEPT_OF_A_BLOCK + 4) * depth * patches * width,
        passing_values=(2 * MLP_RATIO + 6) * patches * width,
    )


@dataclass(frozen=True)
class _Layer:
    """Part of a U-Net: its parameters, and per pixel its multiplications and the values it keeps."""

    pixels: int
    parameters: int
    multiplications: int
    kept: int
    flops_of_attention: int = 0


def _unet(config: Config, num_classes: int) -> NetworkCost:
    layers, width = list(_layers_of_unet(config)), config.model.width
    time = 4 * width
    ends = (width + 1) * time + (time + 1) * time + (num_classes + 1) * time + 2 * width
    return NetworkCost(
        parameters=sum(layer.parameters for layer in layers) + ends,
        flops=sum(2 * layer.pixels * layer.multiplications + layer.flops_of_attention for layer in layers),
        kept_values=sum(layer.pixels * layer.kept for layer in layers),
        passing_values=sum(layer.pixels * layer.kept for layer in layers) // 4,
    )


def _layers_of_unet(config: Config) -> Iterator[_Layer]:
    """List the layers of diffusers' U-Net: three resolutions down, a middle, three up with one more block each."""
    width, depth, side, channels = config.model.width, config.model.depth, config.latent_side, _channels(config)
    levels, time = [width, 2 * width, 4 * width], 4 * width
    yield _convolution(side**2, channels, width)
    left = [width]
    before = width
    for level, wide in enumerate(levels):
        pixels = (side >> level) ** 2
        for _ in range(depth):
            yield from _residual(pixels, before, wide, time)
            if level:
                yield _attention(pixels, wide)
            before = wide
            left.append(wide)
        if level < 2:
            yield _convolution(pixels // 4, wide, wide)
            left.append(wide)
    yield from (*_residual(pixels, before, before, time), _attention(pixels, before))
    yield from _residual(pixels, before, before, time)
    for level, wide in reversed(list(enumerate(levels))):
        pixels = (side >> level) ** 2
        for _ in range(depth + 1):
            yield from _residual(pixels, before + left.pop(), wide, time)
            if level:
                yield _attention(pixels, wide)
            before = wide
        if level:
            yield _convolution(4 * pixels, wide, wide)
    yield _convolution(side**2, width, channels)


def _convolution(pixels: int, taken: int, given: int) -> _Layer:
    return _Layer(pixels, (9 * taken + 1) * given, 9 * taken * given, given)


def _residual(pixels: int, taken: int, given: int, time: int) -> Iterator[_Layer]:
    yield _convolution(pixels, taken, given)
    yield _convolution(pixels, given, given)
    shortcut = (taken + 1) * given if taken != given else 0
    rest = 2 * taken + 2 * given + (time + 1) * given
    yield _Layer(pixels, shortcut + rest, taken * given if shortcut else 0, KEPT_OF_A_RESIDUAL * given)


def _attention(pixels: int, channels: int) -> _Layer:
    parameters, kept = 4 * (channels + 1) * channels + 2 * channels, KEPT_OF_AN_ATTENTION * channels
    return _Layer(pixels, parameters, 4 * channels**2, kept, 4 * pixels**2 * channels)


def _patches(config: Config) -> int:
    return (config.latent_side // config.model.patch_size) ** 2


def _channels(config: Config) -> int:
    return 3 if config.autoencoder.kind == "pixels" else config.autoencoder.channels


def _parameters_of_uvit(config: Config, num_classes: int, patches: int) -> int:
    """Count the parameters without the module after the encoder."""
    model, channels = config.model, _channels(config)
    width, square, patch_values = model.width, model.width**2, channels * model.patch_size**2
    block = 4 * square + width + 4 * width + _parameters_of_mlp(config) + parameters_of_qk_norm(config)
    ends = (num_classes + 1) * width * _label_tokens(config) + (patch_values + 1) * width
    ends += (1 + _label_tokens(config) + patches) * width + 2 * width + 2 * (square + width) * model.time_mlp
    ends += (width + 1) * patch_values + 9 * channels**2 + channels
    if model.condition == "caption":
        learned = model.null_text == "learned"
        ends += (context_width(config) + 1 + learned) * width + config.text_encoder.max_tokens * width
    return (model.depth + 1) * block + model.depth // 2 * (2 * square + width) + ends


def _label_tokens(config: Config) -> int:
    return config.model.label_tokens * config.model.label_token


def _parameters_of_mlp(config: Config) -> int:
    width = config.model.width
    if config.model.mlp == "swiglu":
        hidden = swiglu_width(width, MLP_RATIO)
        return 2 * (width + 1) * hidden + (hidden + 1) * width
    return 2 * MLP_RATIO * width**2 + (MLP_RATIO + 1) * width


def _flops_of_uvit(config: Config, tokens: int) -> int:
    width, depth, square = config.model.width, config.model.depth, config.model.width**2
    mlp = 3 * swiglu_width(width, MLP_RATIO) * width if config.model.mlp == "swiglu" else 2 * MLP_RATIO * square
    block = 2 * tokens * (4 * square + mlp) + 4 * tokens**2 * width
    return (depth + 1) * block + depth // 2 * 4 * tokens * square
