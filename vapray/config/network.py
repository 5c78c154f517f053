"""Settings of the networks' architecture."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import ConfigSection, NonNegativeInt, PathText, PositiveFloat, PositiveInt, UnitInterval

__all__ = ["Autoencoder", "Diffusion", "Model"]


class Autoencoder(ConfigSection):
    """Settings of the latent space."""

    kind: Literal["kl", "diffusers", "taef2", "pca", "pixels"] = "kl"
    """Autoencoder. kl: a small AutoencoderKL fitted to the run's own training images; diffusers: a trained
    AutoencoderKL, such as Stable Diffusion's; taef2: a trained tiny autoencoder; pca: principal components of patches,
    computed from the run's own training images; pixels: none."""
    model: PathText | None = None
    """Trained model. diffusers: a directory (of the model, or of a pipeline with a folder vae) or hf-hub:OWNER/NAME;
    taef2: the directory of taef2_encoder.pth and taef2_decoder.pth."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    channels: PositiveInt = 4
    """Number of channels of the latents; for a trained model, its own; for pca, at most 3 ``factor``²."""
    factor: Literal[2, 4, 8] = 4
    """Image side divided by latent side; for a trained model, its own; for pca, the side of a patch."""
    whitening: UnitInterval = 0.5
    """For pca: power of its standard deviation by which a component is divided. 0: distances as between pixels; 1: the
    same variance for all components."""
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 8
    """For kl: number of channels of the first level, a multiple of 8."""
    steps: PositiveInt = 1000
    """For kl: number of optimizer steps."""
    batch_size: PositiveInt = 8
    """Number of images per step of fitting or decoder tuning."""
    learning_rate: PositiveFloat = 1.5e-3
    """For kl: peak learning rate."""
    tune_decoder_steps: NonNegativeInt = 0
    """Number of steps of decoder tuning on the training images with L1 + LPIPS; the encoder stays fixed. 0: no
    tuning."""
    tune_learning_rate: PositiveFloat = 1e-4
    """Peak learning rate of decoder tuning."""
    lpips_backbone: PathText | None = None
    """Weights file of torchvision's alexnet, vgg16, squeezenet1_1 or squeezenet1_0. None: tune with L1 alone."""
    lpips_heads: PathText | None = None
    """Weights file of the LPIPS heads for that backbone. None: all its layers have equal weight, which is not LPIPS."""
    lpips_pixels: Literal["imagenet", "caffe"] = "imagenet"
    """Input format of the backbone. imagenet: torchvision's RGB; caffe: BGR in 0..255 without the mean."""
    lpips_weight: PositiveFloat = 1.0
    """Weight of LPIPS relative to the L1 distance of pixels in -1..1."""


class PrototypeSection(ConfigSection):
    """Settings of the prototype condition (PCM)."""

    enabled: bool = True
    """Use prototypes."""
    replacement: Literal["nothing", "block"] = "nothing"
    """Replacement of disabled prototypes. block: a block with as many parameters as the PCM of the settings below, to
    separate the effect of prototypes from that of more weights."""
    per_class: PositiveInt | None = None
    """Number of prototypes per class. None: two for each patch token, as in the released configuration."""
    alpha: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the prototypes' reconstruction loss, at least 0; the released code uses 1."""
    target: Literal["stop_gradient", "released"] = "stop_gradient"
    """Gradient of the reconstruction loss. stop_gradient: the paper; released: the authors' gradient on both sides, for
    comparison."""
    after: Literal["encoder", "middle"] = "encoder"
    """Features that prototypes condition. encoder: the paper; middle: output of the middle block, as in the released
    code."""
    injection: Literal["self_attention", "cross_attention", "released"] = "self_attention"
    """Layer after the cross-attention to prototypes. self_attention: the paper; cross_attention: none; released: an
    MLP."""
    zero_init: bool = True
    """Start the injected features at zero (the paper); false: initialize like any other weight, as in the released
    code."""
    init_std: PositiveFloat = 0.02
    """Standard deviation of the initial prototypes; the released code uses 1."""
    update_every: PositiveInt = 1
    """Number of steps between updates of prototypes; gradients in between are discarded."""

    @property
    def has_block(self) -> bool:
        """True if there is a PCM, or a block in its place."""
        return self.enabled or self.replacement == "block"


class Model(ConfigSection):
    """Settings of the network that predicts noise."""

    network: Literal["uvit", "dit", "unet"] = "uvit"
    """Network. uvit, or a baseline that sees classes only: dit, or latent diffusion's unet."""
    condition: Literal["caption", "class"] = "caption"
    """Condition of the network: a caption with its class, or the class alone."""
    patch_size: PositiveInt = 2
    """For uvit and dit: side of a patch, in latent pixels."""
    width: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Width of a token, an even number; for unet: number of channels of its first resolution."""
    depth: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    """Number of blocks, an even number; for uvit half are before the middle block, half after it; for unet residual
    blocks per resolution."""
    num_heads: PositiveInt = 2
    """Number of attention heads; must divide width."""
    label_token: bool = True
    """For uvit: add a class token; false: only the prototypes carry the class, as in one release."""
    label_tokens: PositiveInt = 1
    """For uvit: number of class tokens; more of them give the class more weight beside the text."""
    qk_norm: bool = False
    """For uvit: normalize queries and keys of each attention head, which larger learning rates need."""
    rope: bool = False
    """For uvit: rotate queries and keys of patches by their row and column (RoPE), so that attention between patches
    depends on their offset; learned positions stay."""
    time_mlp: bool = False
    """For uvit: pass the diffusion step through an MLP before it becomes a token."""
    mlp: Literal["gelu", "swiglu"] = "gelu"
    """For uvit: MLP of the blocks. gelu: the paper; swiglu: gated, with about as many parameters."""
    null_text: Literal["learned", "empty"] = "learned"
    """For uvit: text tokens where label and text are dropped. learned: one learned token; empty: the text encoder's
    padded empty text, as in the released code, which needs text_encoder.context_length=full."""
    prototypes: PrototypeSection = PrototypeSection()


class Diffusion(ConfigSection):
    """Settings of the forward process."""

    schedule: Literal["scaled_linear", "linear"] = "scaled_linear"
    """Noise schedule. scaled_linear: Stable Diffusion's betas; linear: 1e-4..0.02, for pixels."""
    steps: Annotated[int, Field(ge=10)] = 1000
    """Number of diffusion steps N, at least 10."""
    path: Literal["vp", "flow"] = "vp"
    """Path between image and noise. vp: variance-preserving, with the betas of ``schedule``; flow: the straight path of
    rectified flow, which ends in pure noise."""
    prediction: Literal["epsilon", "x", "v"] = "epsilon"
    """Output of the network. epsilon: the noise (the paper); x: the clean latent; v: the velocity of the path."""
    loss: Literal["epsilon", "x", "v", "min_snr"] = "epsilon"
    """Quantity whose squared error is the loss, whatever the network predicts. epsilon: the noise (the paper), nearly
    all of whose weight on the image is at low noise; x: the clean latent; v: the velocity; min_snr: the noise, with
    the weight of low noise bounded (min-SNR, gamma 5)."""
    noise_levels: Literal["uniform", "logit_normal"] = "uniform"
    """Diffusion steps of training. uniform: all alike (the paper); logit_normal: the logit of the noise share
    sigma / (signal + sigma) is normal."""
    noise_logit_mean: float = 0.8
    """For logit_normal: mean of the logit; 0 is as much noise as signal, above 0 more noise."""
    noise_logit_std: PositiveFloat = 0.8
    """For logit_normal: standard deviation of the logit."""
    uniform_noise_share: UnitInterval = 0.0
    """For logit_normal: share of the training images, 0 to 1, whose step is uniform all the same, so that the first and
    the last steps of sampling are trained too."""
