"""Seconds that one row takes of one actor, by what takes them.

Networks are reckoned as operations over an assumed rate of the GPU; what CPUs do is the rooms' own forecast.
"""

from collections.abc import Callable, Mapping

from vapray.bank.forecast import tokens_of_a_caption
from vapray.capacity.figures import Figures
from vapray.capacity.workload import Workload
from vapray.data.forecast import reading_seconds
from vapray.errors import ConfigError
from vapray.evaluation.forecast import classifier_seconds
from vapray.latents.forecast import autoencoder_size
from vapray.models.size import network_size
from vapray.sampling.forecast import SECONDS_TO_WRITE, network_passes

__all__ = ["CPU", "DECODING", "GPU", "STORE", "WRITING", "seconds_of_a_row"]

GPU, CPU, DECODING, WRITING, STORE = "GPU", "cores", "picture decoding", "picture writing", "store latency"
PASSES_OF_TWO_SIDES = 2


def seconds_of_a_row(stage: str, work: Workload, figures: Figures) -> Mapping[str, float]:
    """Of a row of the stage's source: a picture, a caption, a sample."""
    return _STAGES[stage](work, figures)


def _alone(stage: str) -> Callable[[Workload, Figures], Mapping[str, float]]:
    def seconds(work: Workload, figures: Figures) -> Mapping[str, float]:
        forecast = work.alone[stage]
        return {CPU: forecast.work_seconds / forecast.rows}

    return seconds


def _caption(work: Workload, figures: Figures) -> Mapping[str, float]:
    """Of an LLM two turns of one conversation: with the prefix cache each token of a prompt is computed once."""
    captioner = work.config.caption.captioner
    if captioner != "vllm":
        return _alone("caption")(work, figures)
    if not work.config.pools.caption.num_gpus:
        raise ConfigError(
            "pools.caption.num_gpus = 0: what vLLM takes of CPUs is not known here. Give its actors GPUs."
        )
    prompt = figures["picture_tokens"] + figures["question_tokens"] + figures["knowledge_tokens"]
    flops = 2 * figures["vlm_parameters"] / figures["gpu_peak_flops"]
    prefill = prompt * flops / figures["vlm_prefill_mfu"]
    decode = figures["answer_tokens"] * flops / figures["vlm_decode_mfu"]
    parallel = work.config.vllm.tensor_parallel_size
    return {GPU: (prefill + decode) / parallel, DECODING: reading_seconds(work.images)}


def _bank(work: Workload, figures: Figures) -> Mapping[str, float]:
    if work.config.bank.encoder == "hashing" or not work.config.pools.bank.num_gpus:
        return _alone("bank")(work, figures)
    flops = 2 * figures["text_tower_parameters"] * tokens_of_a_caption(work.config)
    return {GPU: flops / (figures["gpu_peak_flops"] * figures["bank_mfu"])}


def _encode(work: Workload, figures: Figures) -> Mapping[str, float]:
    if not work.config.pools.encode.num_gpus:
        return {CPU: 2 * work.alone["encode"].work_seconds / work.alone["encode"].rows}
    flops = PASSES_OF_TWO_SIDES * autoencoder_size(work.config).encoder_flops
    seconds = flops / (figures["gpu_peak_flops"] * figures["encode_mfu"])
    return {GPU: seconds, DECODING: reading_seconds(work.images)}


def _sample(work: Workload, figures: Figures) -> Mapping[str, float]:
    waits = {WRITING: SECONDS_TO_WRITE, STORE: figures["put_seconds"]}
    if not work.config.pools.sample.num_gpus:
        return {**_alone("sample")(work, figures), STORE: figures["put_seconds"]}
    size, autoencoder = network_size(work.config, work.plan.classes), autoencoder_size(work.config)
    passes = network_passes(work.config) / work.alone["sample"].rows
    flops = passes * size.flops + autoencoder.decoder_flops
    return {GPU: flops / (figures["gpu_peak_flops"] * figures["sample_mfu"])} | waits


def _evaluate(work: Workload, figures: Figures) -> Mapping[str, float]:
    """Without the classifier, which one task trains; held-out pictures are measured twice, which the forecast knows."""
    source = work.training_rows + work.images.held_out + work.alone["sample"].rows
    return {CPU: (work.alone["evaluate"].work_seconds - classifier_seconds(work.config)) / source}


_STAGES: Mapping[str, Callable[[Workload, Figures], Mapping[str, float]]] = {
    "ingest": _alone("ingest"),
    "caption": _caption,
    "bank": _bank,
    "encode": _encode,
    "sample": _sample,
    "evaluate": _evaluate,
}
