"""VAP-Diffusion on one page: network, solver, guidance, text, diffusers pipeline. Not for clinical use.

    pipe = DiffusionPipeline.from_pretrained(FOLDER, trust_remote_code=True)
    image = pipe("MEL", seed=7).images[0]

Method: arXiv 2506.23641; U-ViT: CVPR 2023; DPM-Solver++: arXiv 2211.01095. SPDX-License-Identifier: Apache-2.0
Shape suffixes: B rows of a network call, N images, C channels, H and W sides, L tokens, M prototypes, D width.
"""

import hashlib
import importlib
import io
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import DiffusionPipeline, ModelMixin
from diffusers.models.autoencoders.vae import DecoderTiny
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["VapDiffusionPipeline", "changed_files"]

Weights = dict[str, Any]  # tensors by name; the names that exist decide which parts the network has
Maybe = Tensor | None
Pipeline: Any = DiffusionPipeline
CPU = set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").exists() else set()  # names of its units


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    weight, bias = w[f"{name}.weight"].to(x.dtype), w.get(f"{name}.bias")
    return F.linear(x, weight, None if bias is None else bias.to(x.dtype))


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], *(w[f"{name}.{part}"].to(x.dtype) for part in ("weight", "bias")))


def mlp(w: Weights, name: str, x: Tensor) -> Tensor:
    if f"{name}.gate_value.weight" in w:  # SwiGLU
        gate, value = linear(w, f"{name}.gate_value", x).chunk(2, dim=-1)
        return linear(w, f"{name}.out", F.silu(gate) * value)
    return linear(w, f"{name}.2", F.gelu(linear(w, f"{name}.0", x)))


def axial_rotation(count: int, x_BLD: Tensor, heads: int) -> Tensor:
    """RoPE (arXiv 2104.09864): cosines and sines of angles by row and column for patches, of 0 for other tokens."""
    side, width = torch.arange(math.isqrt(count), device=x_BLD.device), x_BLD.shape[2] // heads
    frequency = 100.0 ** (torch.arange(width // 4, device=x_BLD.device) / -(width // 4))
    angle_PF = (torch.cartesian_prod(side, side)[:, :, None] * frequency).flatten(1)
    angle_LF = F.pad(torch.cat([-angle_PF, angle_PF], dim=1), (0, width % 4, x_BLD.shape[1] - count, 0))
    return torch.stack([angle_LF.cos(), angle_LF.sin()])


def rotate(x: Tensor, rotation_2LF: Tensor) -> Tensor:
    """Rotate each head's queries or keys [B, heads, L, F] in float32; values left over from fours do not turn."""
    cos, sin = rotation_2LF
    half, full = 2 * (x.shape[-1] // 4), x.float()
    first, second, rest = full.split([half, half, x.shape[-1] % 4], dim=-1)
    return torch.addcmul(full * cos, torch.cat([second, first, rest], dim=-1), sin).to(x.dtype)


def attend(w: Weights, name: str, inputs: Any, heads: int, mask: Maybe = None, rotation: Maybe = None) -> Tensor:
    """Multi-head attention of queries, keys and values; ``mask`` is True where a key is visible."""
    query, key, value = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in inputs)
    if f"{name}.query_norm.norm.weight" in w:  # QK-norm, in float32
        gains = (w[f"{name}.{part}_norm.norm.weight"] for part in ("query", "key"))
        normed = (F.rms_norm(x.float(), gain.shape, gain, 1e-6) for x, gain in zip((query, key), gains, strict=True))
        query, key = (x.to(value.dtype) for x in normed)
    if rotation is not None:
        query, key = rotate(query, rotation), rotate(key, rotation)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
    return linear(w, f"{name}.out", mixed)


def self_attention(w: Weights, name: str, x: Tensor, heads: int, mask: Maybe, rotation: Maybe = None) -> Tensor:
    return attend(w, name, linear(w, f"{name}.query_key_value", x).chunk(3, dim=-1), heads, mask, rotation)


def block(w: Weights, name: str, x: Tensor, heads: int, mask: Maybe, rotation: Maybe, skip: Maybe = None) -> Tensor:
    """Transformer block; an out-block first merges ``skip``, the output of its in-block."""
    if skip is not None:
        x = linear(w, f"{name}.merge", torch.cat([x, skip], dim=-1))
    x = x + self_attention(w, f"{name}.attention", layer_norm(w, f"{name}.attention_norm", x), heads, mask, rotation)
    return x + mlp(w, f"{name}.mlp", layer_norm(w, f"{name}.mlp_norm", x))


def prototype_condition(w: Weights, x_BLD: Tensor, row_B: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """PCM: inject the learned prototypes p of each row's class into its tokens x.

    Paper: ``x + Z(SelfAttn(LN(CrossAttn(LN(x), p))))``. Released code: ``x <- x + Z1(CrossAttn(x, p))``, then
    ``x + Z2(MLP(LN(x)))``. Ablations: without the self-attention; a matched block without prototypes.
    """
    part = "prototypes.injection"
    if "matched_block.inject.weight" in w:
        part = "matched_block"
        mixed = self_attention(w, f"{part}.attention", layer_norm(w, f"{part}.attention_norm", x_BLD), heads, mask)
        return x_BLD + linear(w, f"{part}.inject", mlp(w, f"{part}.mlp", layer_norm(w, f"{part}.mlp_norm", mixed)))
    if "prototypes.prototypes" not in w:
        return x_BLD
    released = f"{part}.inject_mlp.weight" in w
    prototypes, few = w["prototypes.prototypes"].to(x_BLD.dtype), len(w["prototypes.prototypes"]) <= len(row_B)
    name = f"{part}.cross_attention"
    key_value = linear(w, f"{name}.key_value", prototypes if few else prototypes[row_B])  # project the fewer rows
    key, value = (key_value[row_B] if few else key_value).chunk(2, dim=-1)
    query = linear(w, f"{name}.query", x_BLD if released else layer_norm(w, f"{part}.cross_norm", x_BLD))
    found = attend(w, name, (query, key, value), heads)
    if released:
        x_BLD = x_BLD + linear(w, f"{part}.inject_attention", found)
        return x_BLD + linear(w, f"{part}.inject_mlp", mlp(w, f"{part}.mlp", layer_norm(w, f"{part}.mlp_norm", x_BLD)))
    if f"{part}.self_attention.out.weight" in w:
        found = self_attention(w, f"{part}.self_attention", layer_norm(w, f"{part}.self_norm", found), heads, mask)
    return x_BLD + linear(w, f"{part}.inject", found)


def text_tokens(w: Weights, dtype: Any, context_BLD: Tensor, length_B: Tensor, drop_B: Tensor) -> tuple[Tensor, Tensor]:
    """Projected caption tokens, and which are not padding; a dropped row has a learned token, or the empty text."""
    null, length = w.get("text.null"), context_BLD.shape[1]
    if null is not None:
        context_BLD = F.pad(context_BLD, (0, 0, 0, int(length == 0)))
        length_B = length_B.masked_fill(drop_B, 1)
    elif drop_B.any():
        empty_LD = w["text.empty_context"]
        context_BLD = F.pad(context_BLD, (0, 0, 0, len(empty_LD) - length))
        context_BLD = torch.where(drop_B[:, None, None], empty_LD, context_BLD)
        length_B = length_B.masked_fill(drop_B, len(empty_LD))
    real_BL = torch.arange(context_BLD.shape[1], device=context_BLD.device) < length_B[:, None]
    text_BLD = linear(w, "text.project", context_BLD.masked_fill(~real_BL[:, :, None], 0.0).to(dtype))
    if null is not None:
        text_BLD = torch.where(drop_B[:, None, None], null.to(text_BLD.dtype), text_BLD)
    return text_BLD, real_BL


def uvit(w: Weights, c: Any, noisy_BCHW: Tensor, facts_4B: Tensor, context_BLD: Tensor, low: bool = False) -> Tensor:
    """Noise, x0 or velocity [B, C, H, W], by a transformer over [step | class | text | patches] with long skips.

    ``facts_4B`` has for each row the diffusion step, the class, the number of tokens, and 1 for the null condition.
    """
    heads, patch_size, position = c["num_heads"], c["patch_size"], w["position"]
    step_B, label_B, length_B, drop_B = *facts_4B[:3], facts_4B[3].bool()
    row_B = label_B.masked_fill(drop_B, len(c["class_names"]))
    half, dtype = position.shape[1] // 2, torch.bfloat16 if low else position.dtype  # not of the last layers
    angle = step_B[:, None].float() * torch.exp(torch.arange(half, device=step_B.device) * (-math.log(10_000) / half))
    lead = [torch.cat([angle.cos(), angle.sin()], dim=-1)[:, None].to(position.dtype)]
    if "time_mlp.0.weight" in w:
        lead = [linear(w, "time_mlp.2", F.silu(linear(w, "time_mlp.0", lead[0].to(dtype))))]
    if "label_embedding.weight" in w:
        lead.append(w["label_embedding.weight"][row_B].unflatten(1, (-1, position.shape[1])))
    patches_BLD = linear(w, "patch_in", F.pixel_unshuffle(noisy_BCHW, patch_size).flatten(2).mT.contiguous().to(dtype))
    count, mask = patches_BLD.shape[1], None
    if "text.project.weight" in w:
        text_BLD, real_BL = text_tokens(w, dtype, context_BLD, length_B, drop_B)
        if not real_BL.all():
            mask = F.pad(real_BL, (sum(part.shape[1] for part in lead), count), value=True)[:, None, None, :]
        lead.append(text_BLD)
    x = torch.cat([*lead, patches_BLD], dim=1)
    x = (x + torch.cat([position[: x.shape[1] - count], position[-count:]])).to(dtype)
    skips, rotation = [], axial_rotation(count, x, heads) if c["rope"] else None
    for i in range(c["depth"] // 2):
        x = block(w, f"in_blocks.{i}", x, heads, mask, rotation)
        skips.append(x)
    if c["condition_after"] == "encoder":
        x = prototype_condition(w, x, row_B, heads, mask)
    x = block(w, "mid_block", x, heads, mask, rotation)
    if c["condition_after"] == "middle":
        x = prototype_condition(w, x, row_B, heads, mask)
    for i in range(c["depth"] // 2):
        x = block(w, f"out_blocks.{i}", x, heads, mask, rotation, skips.pop())
    patches_BLD = linear(w, "patch_out", layer_norm(w, "norm", x[:, -count:].to(position.dtype)))
    output_BCHW = F.pixel_shuffle(patches_BLD.transpose(1, 2).unflatten(2, (math.isqrt(count), -1)), patch_size)
    return F.conv2d(output_BCHW.contiguous(), w["smooth.weight"], w["smooth.bias"], padding=1)


def noise_schedule(path: str, schedule: str, total: int) -> tuple[Any, Any, Any]:
    """Signal, sigma and sigma's rate of ``x = signal x0 + sigma eps`` at the steps 0..N."""
    if path == "flow":
        return 1.0 - np.arange(total + 1) / total, np.arange(total + 1) / total, np.ones(total + 1)
    scaled = np.linspace(0.00085**0.5, 0.012**0.5, total) ** 2
    betas = np.linspace(1e-4, 0.02, total) if schedule == "linear" else scaled
    alpha_bar = np.cumprod(1.0 - np.concatenate([[0.0], betas]))
    return np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar), np.sqrt(alpha_bar)


def solver_plan(factors: tuple[Any, Any, Any], solver: str, calls: int) -> tuple[Any, Any]:
    """Diffusion steps of the network calls [S], and signal, sigma, rate, keep, clean and previous of each [S, 6].

    With the predicted x0 each call does ``x <- keep x + clean x0 + previous x0_before``.
    """
    total = len(factors[0]) - 1
    if solver not in ("dpm_solver_2m", "ddim", "heun") or not 1 <= calls < total:
        raise ValueError(f"solver = {solver!r}, {calls} steps: expected dpm_solver_2m, ddim, heun, 1..{total - 1}.")
    steps = np.round(np.arange(calls, 0, -1) * (total / calls))
    if solver != "ddim":
        steps = 1 + np.linspace(0, total - 1, calls + 1).round()[:0:-1]
    steps = np.append(steps, 0).astype(np.int64)
    signal, sigma, _ = (factor[steps] for factor in factors)
    with np.errstate(divide="ignore"):
        stride = np.diff(np.log(signal) - np.log(sigma))
    keep, clean = sigma[1:] / sigma[:-1], -signal[1:] * np.expm1(-stride)
    previous = np.zeros_like(clean)
    if solver == "dpm_solver_2m":  # second order, except for the first and the last step
        previous[1:-1] = -0.5 * clean[1:-1] * stride[1:-1] / stride[:-2]
    rows, steps = np.stack([keep, clean - previous, previous], axis=1), steps[:-1]
    if solver == "heun":  # a correction after each step of Euler's but the last, in flow coordinates
        share = sigma / (signal + sigma)
        ratio, ones = share[1:-1] / share[:-2], np.ones(calls - 1)
        change = (signal + sigma)[1:-1] * (1 - ratio) / (2 * ratio)
        pairs = np.stack([rows[:-1], np.stack([ones, change, -change], axis=1)], axis=1)
        rows, steps = np.concatenate([pairs.reshape(-1, 3), rows[-1:]]), np.repeat(steps, 2)[1:]
    return steps, np.concatenate([np.stack([factor[steps] for factor in factors], axis=1), rows], axis=1)


def guidance_excess(step: int, scale: float, convention: str, interval: Any) -> float:
    """Scale s of ``c + s (c - u)`` at a diffusion step: c conditional, u unconditional output."""
    if convention not in ("excess", "classifier_free") or not math.isfinite(scale):
        raise ValueError(f"guidance = {scale}, {convention!r}: expected a number, and excess or classifier_free.")
    first, last = interval or (0, math.inf)
    return (scale if convention == "excess" else scale - 1.0) if first <= step <= last else 0.0


WORD = re.compile(r"(\d+(?:\.\d+)?)(?:\s*(%|per\s?cent\b))?|[^\W\d_]+(?:['-][^\W\d_]+)*", re.IGNORECASE)


def hash_text(text: str, width: int, max_tokens: int, function_words: list[str]) -> Tensor:
    """Hashing text encoder [L, D]: random signs for a word, sinusoids for a number, and a position code."""
    tokens = []
    for match in WORD.finditer(text):
        if match[1] is not None:
            code = sinusoids(np.array([min(float(match[1]), 1e9)]), width, 20.0, 250.0)[0]
            tokens.append(code * random_signs(f"unit {'%' if match[2] else ''}", width))
        elif match[0].lower() not in function_words:
            tokens.append(random_signs(f"word {match[0].lower()}", width))
    position = 0.25 * sinusoids(np.arange(len(tokens)), width, 4.0, 4.0 * max_tokens)
    return torch.from_numpy(np.array(tokens, np.float32).reshape(-1, width) + position)


def random_signs(key: str, width: int) -> Any:
    blocks = [hashlib.blake2b(key.encode(), salt=i.to_bytes(4, "big")).digest() for i in range(-(-width // 512))]
    return (2.0 * np.unpackbits(np.frombuffer(b"".join(blocks), np.uint8))[:width] - 1.0).astype(np.float32)


def sinusoids(values: Any, width: int, shortest: float, longest: float) -> Any:
    angles = 2 * np.pi * values[:, None] / np.geomspace(shortest, longest, width // 2)
    return (math.sqrt(2) * np.concatenate([np.sin(angles), np.cos(angles)], axis=1)).astype(np.float32)


def taef2_decoder(w: Weights) -> nn.Module:
    """Decoder of TAEF2 (github.com/madebyollin/taesd): diffusers' tiny decoder with three normed branches."""
    width, channels = w["taef2.layers.0.weight"].shape[:2]
    decoder: Any = DecoderTiny(channels, 3, (3, 3, 3, 1), (width,) * 4, 2, "relu", "nearest")
    for part in decoder.layers[2:5]:
        widen, narrow = nn.Conv2d(width, 4 * width, 1, bias=False), nn.Conv2d(4 * width, width, 1, bias=False)
        part.pool = nn.Sequential(widen, nn.GroupNorm(4, 4 * width), nn.ReLU(), narrow)
        part.register_forward_pre_hook(lambda part, inputs: inputs[0] + part.pool(inputs[0]))
    decoder.load_state_dict({name.removeprefix("taef2."): w[name] for name in w if name.startswith("taef2.")})
    return decoder.to(w["latent_scale"])


def tower_sha256(text_encoder: Any, tokenizer: Any) -> str:
    """Digest of a text encoder's weights and vocabulary; a pooler is not used, and may be drawn at random."""
    digest = hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
    for name, weight in text_encoder.state_dict().items():
        digest.update(b"" if "pooler" in name else weight.half().cpu().numpy().tobytes())
    return digest.hexdigest()


def changed_files(folder: Path) -> list[str]:
    """Files of ``SHA256SUMS`` that are missing or have other content; none without a ``SHA256SUMS``."""
    sums = folder / "SHA256SUMS"
    listed = dict(line.split("  ", 1)[::-1] for line in sums.read_text().splitlines()) if sums.is_file() else {}
    there = [name for name in listed if (folder / name).is_file()]
    same = [name for name in there if hashlib.sha256((folder / name).read_bytes()).hexdigest() == listed[name]]
    return sorted(listed.keys() - same)


class VapModel(ModelMixin):
    """Weights, settings and prompt bank of a checkpoint, from the folder ``model`` of an export."""

    def __init__(self, folder: Path, dtype: torch.dtype | None) -> None:
        super().__init__()
        weights, bank = load_file(folder / "diffusion_pytorch_model.safetensors"), folder / "captions.json"
        self.settings: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if {name: list(weight.shape) for name, weight in weights.items()} != self.settings["weight_shapes"]:
            raise ValueError(f"{folder}: weights of another network than config.json. Fix: copy or export again.")
        self.captions = json.loads(bank.read_text(encoding="utf-8")) if bank.is_file() else None
        tensors = (weights[name].to(dtype) for name in self.settings["weight_shapes"])
        self.tensors = nn.ParameterList(nn.Parameter(tensor, requires_grad=False) for tensor in tensors)

    @classmethod
    def from_pretrained(cls, path: str | Path, torch_dtype: torch.dtype | None = None, **_: Any) -> Any:
        if changed := [name for name in changed_files(Path(path).parent) if name != "README.md"]:
            raise ValueError(f"{', '.join(changed)}: changed since the export. Fix: copy or export the folder again.")
        return cls(Path(path), torch_dtype)

    @property
    def weights(self) -> Weights:
        return dict(zip(self.settings["weight_shapes"], self.tensors, strict=True))


class VapDiffusionOutput(NamedTuple):
    """Images (Pillow, or float [N, H, W, 3] in 0..1), and their provenance, which a PNG has in text chunks."""

    images: Any
    provenance: list[dict[str, str]]

    def to_png(self, index: int = 0) -> bytes:
        image, chunks, file = np.asarray(self.images[index]), PngInfo(), io.BytesIO()
        pixels = image if image.dtype == np.uint8 else (image * 255).round().astype(np.uint8)
        for name, value in self.provenance[index].items():
            chunks.add_itxt(name, value)
        Image.fromarray(pixels).save(file, format="PNG", pnginfo=chunks)
        return file.getvalue()


class VapDiffusionPipeline(Pipeline):
    """Images of a class by a caption. Not for clinical use."""

    _optional_components = ["baseline", "vae", "text_encoder", "tokenizer"]  # noqa: RUF012

    def __init__(
        self, model: Any, baseline: Any = None, vae: Any = None, text_encoder: Any = None, tokenizer: Any = None
    ) -> None:
        super().__init__()
        self.register_modules(model=model, baseline=baseline, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer)
        self.settings: dict[str, Any] = model.settings
        if text_encoder is not None and tower_sha256(text_encoder, tokenizer) != self.settings["text"].get("sha256"):
            raise ValueError("text_encoder: not the one of the training. Fix: load the one that README.md names.")

    @torch.no_grad()
    def __call__(
        self, label: Any, caption: Any = None, seed: int = 0, n: int = 1, prompt_embeds: Any = None, **settings: Any
    ) -> Any:
        """Make n images of a class with seeds ``seed``, ``seed + 1``, ...; README.md describes the arguments."""
        names, output_type = self.settings["class_names"], settings.pop("output_type", "pil")
        settings = {**self.settings["sampling"], **settings}
        if label not in [*names, *range(len(names))] or settings.keys() != self.settings["sampling"].keys():
            raise ValueError(f"class {label!r}, {[*settings]}: expected one of {names}; settings as in config.json.")
        if not (0 <= seed < 2**63 and n >= 1 and output_type in ("pil", "np") and None in (caption, prompt_embeds)):
            raise ValueError("expected n from 1, seed from 0, output_type pil or np, caption or prompt_embeds.")
        number, seeds = names.index(label) if isinstance(label, str) else int(label), [seed + i for i in range(n)]
        if prompt_embeds is not None or not self.settings["max_context"]:
            captions = [caption or ""] * n
            contexts = [torch.zeros(0, 0) if prompt_embeds is None else prompt_embeds.float()] * n
        else:
            captions = [self._draw(number, one) if caption is None else caption for one in seeds]
            contexts = self._encode(captions)
        pixels = np.stack([self._decode(x_CHW) for x_CHW in self._sample(number, seeds, contexts, settings)])
        facts = {"Synthetic": "Synthetic image made by vapray. Not for clinical use.", "Class": names[number]}
        facts["Settings"] = json.dumps({**settings, "precision": self.settings["precision"]}, sort_keys=True)
        facts |= {"Model-SHA256": self.settings["weights_sha256"], **self.settings["origins"]}
        made = [{**facts, "Caption": text, "Seed": str(one)} for text, one in zip(captions, seeds, strict=True)]
        images = [Image.fromarray(one) for one in pixels] if output_type == "pil" else pixels / np.float32(255)
        return VapDiffusionOutput(images, made)

    def _draw(self, label: int, seed: int) -> str:
        """A caption of the class from the prompt bank, decided by the seed."""
        if self.model.captions is None:
            raise ValueError("caption = None: this export has no prompt bank. Fix: give a caption.")
        captions = self.model.captions[self.settings["class_names"][label]]
        digest = hashlib.blake2b(f"draw {label} {seed} 0".encode(), digest_size=16).digest()
        return captions[int.from_bytes(digest, "big") % len(captions)]

    def _encode(self, captions: list[str]) -> list[Tensor]:
        """Tokens [L, D] of each caption, rounded to float16; open_clip may skip the first token."""
        text, most, width = (self.settings[name] for name in ("text", "max_context", "context_width"))
        if text["encoder"] == "hashing":
            return [hash_text(one, width, most, text["function_words"]).half().float() for one in captions]
        if self.text_encoder is None:
            raise ValueError("text_encoder = None: captions need it. Fix: see README.md, or give prompt_embeds.")
        if text["encoder"] == "open_clip":
            captions = [*map(importlib.import_module("open_clip.tokenizer").get_clean_fn("whitespace"), captions)]
        padding = {"padding": "max_length", "max_length": most} if text["full"] else {"padding": True}
        tokens = self.tokenizer(captions, return_tensors="pt", **padding).to(self.text_encoder.device)
        states_BLD = self.text_encoder(tokens["input_ids"], tokens["attention_mask"]).last_hidden_state.half().float()
        ends = [None if text["full"] else int(mask.sum()) for mask in tokens["attention_mask"]]
        return [states_LD[text["skip"] : end] for states_LD, end in zip(states_BLD, ends, strict=True)]

    def _sample(self, label: int, seeds: list[int], contexts: list[Tensor], settings: dict[str, Any]) -> Tensor:
        """Clean latents [N, C, H, W]; captions are padded to half or all of ``max_context``."""
        c, device = self.settings, self.model.device
        most, width, images_of_a_call = c["max_context"], c["context_width"], max(1, max(c["batch_sizes"]) // 2)
        if any(context.shape[1] != width or not 1 <= len(context) <= most for context in contexts if most):
            raise ValueError(f"caption or prompt_embeds: expected 1..{most} tokens of {width} values.")
        rooms = [most - most // 2 if len(context) <= most - most // 2 else most for context in contexts]
        streams = [np.random.Generator(np.random.Philox(key=np.array([seed, 3], dtype=np.uint64))) for seed in seeds]
        noise = np.stack([stream.standard_normal(c["latent_shape"], np.float32) for stream in streams])
        x = torch.from_numpy(noise).to(device)
        for room in sorted(set(rooms)):
            same = [i for i in range(len(rooms)) if rooms[i] == room]
            for batch in (same[k : k + images_of_a_call] for k in range(0, len(same), images_of_a_call)):
                text = [F.pad(contexts[i].to(device), (0, 0, 0, room - len(contexts[i]))) for i in batch]
                x[batch] = self._solve(x[batch], label, torch.stack(text), [len(contexts[i]) for i in batch], settings)
        if not x.isfinite().all():
            raise ValueError("the output is not finite. Fix: lower guidance_scale, or use float32.")
        return x

    def _solve(self, x: Tensor, label: int, text: Tensor, lengths: list[int], settings: dict[str, Any]) -> Tensor:
        """From noise to clean latents, both [N, C, H, W]."""
        c, count, x0 = self.settings, len(x), torch.zeros_like(x)
        factors = noise_schedule(c["path"], c["schedule"], c["diffusion_steps"])
        plan = solver_plan(factors, settings["solver"], settings["num_inference_steps"])
        guidance = [settings[f"guidance_{name}"] for name in ("scale", "convention", "interval")]
        apart = c["split_unconditional"] or 2 * count > max(c["batch_sizes"])
        halves = {False: [(0,)], True: [(0,), (1,)] if apart else [(0, 1)]}
        for step, row in self.progress_bar(list(zip(*plan, strict=True))):
            excess = guidance_excess(step, *guidance)
            y = torch.cat([self._ask(x, step, label, text, lengths, drops) for drops in halves[bool(excess)]])
            y = y[:count] + excess * (y[:count] - y[-count:])
            signal, sigma, rate, keep, clean, previous = torch.from_numpy(row).to(x)[:, None, None, None, None]
            x0s = {"epsilon": (x - sigma * y) / signal, "x": y, "v": rate * x - sigma * y}
            before, x0 = x0, x0s[c["prediction"]]
            x = keep * x + clean * x0 + previous * before
        return x

    def _ask(self, x: Tensor, step: int, label: int, text: Tensor, lengths: list[int], drops: Any) -> Tensor:
        """Outputs of the conditional (0) and unconditional (1) halves in ``drops``; null rows pad the network call."""
        c, text = self.settings, text[:, :0] if drops == (1,) and self.settings["split_unconditional"] else text
        facts = [(step, label, min(length, text.shape[1]), drop) for drop in drops for length in lengths]
        padding = min(size for size in c["batch_sizes"] if size >= len(facts)) - len(facts)
        facts_4B = torch.tensor([*facts, *[(1, 0, 0, 1)] * padding], device=x.device).T
        x, text = (torch.cat([rows] * len(drops)).to(self.model.dtype) for rows in (x, text))
        x, text = (F.pad(rows, (0, 0) * (rows.ndim - 1) + (0, padding)) for rows in (x, text))
        half = c["precision"] == "bfloat16" and (x.device.type != "cpu" or bool(CPU & {"amx_bf16", "avx512_bf16"}))
        if self.baseline is None:
            return uvit(self.model.weights, c, x, facts_4B, text, half)[: len(facts)].float()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
            row_B = facts_4B[1].masked_fill(facts_4B[3].bool(), len(c["class_names"]))
            return self.baseline(x, facts_4B[0], class_labels=row_B).sample[: len(facts)].float()

    def _decode(self, latent_CHW: Tensor) -> Any:
        """Pixels uint8 [H, W, 3] of a clean latent."""
        w = self.model.weights
        scale, shift = (w[name].to(latent_CHW)[:, None, None] for name in ("latent_scale", "latent_shift"))
        pixels = (latent_CHW * scale + shift)[None]
        if self.vae is not None:
            pixels = self.vae.decode(pixels.to(self.vae.dtype)).sample
        elif "taef2.layers.0.weight" in w:
            pixels = taef2_decoder(w)(pixels.to(self.model.dtype))
        elif "pca.weight" in w:
            kernel = w["pca.weight"].to(pixels)
            pixels = F.conv_transpose2d(pixels, kernel, w["pca.bias"].to(pixels), stride=kernel.shape[2])
        pixels = pixels[0].float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(1, 2, 0).contiguous().cpu().numpy()
