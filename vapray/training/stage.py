"""train: the tables ``bank`` and ``latents`` become checkpoints, by Ray Train.

in    rows of the train split: label, context float16 [L, width], moments float16 [2C, h, w] and their mirror image
out   files/steps/step-N (training state), files/final (to sample from); what is in them: ``vapray.checkpoint``

Every rank maps the same node-local arrays and takes its own places of each global batch. A rank that dies takes the
worker group down; Ray Train starts it again, and it goes on from the newest whole training state.
"""

import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vapray.bank.prompt_bank import PromptBank
from vapray.bank.text_encoder import TextEncoder, make_text_encoder
from vapray.checkpoint import read_newest_step, write_checkpoint, write_step
from vapray.cluster import readable_errors, require, run_interruptible, watched
from vapray.config import Config
from vapray.errors import BackendError
from vapray.latents.latent_space import LatentSpace
from vapray.latents.opening import stored_autoencoder
from vapray.stage_run import StageRun
from vapray.store import Version
from vapray.training.dataset import discard, materialise
from vapray.training.loop import Worker, train
from vapray.training.network import build_network
from vapray.training.state import TrainingState

__all__ = ["run"]

ROWS_CACHE = Path(tempfile.gettempdir()) / f"vapray-rows-{os.getuid()}"


@dataclass(frozen=True)
class _Job:
    """What every rank is told."""

    config: Config
    bank: Version
    latents: Version
    output: Version
    num_classes: int
    context_width: int
    space: LatentSpace
    report: Callable[[int, str], None]

    @property
    def steps_folder(self) -> str:
        return f"{self.output.folder}/files/steps"

    def new_state(self) -> TrainingState:
        network = build_network(
            self.config,
            num_classes=self.num_classes,
            latent_channels=self.space.channels,
            context_width=self.context_width,
        )
        return TrainingState.begin(network, self.config.train)


def run(run: StageRun) -> None:
    """Run the stage."""
    config, inputs = run.config, run.inputs
    workers = config.train.workers
    require(cpus=workers, gpus=workers * config.train.use_gpu, why=f"train.workers {workers}")
    run.progress.expect(config.train.steps, "steps")
    with watched(run.progress) as report:
        job = _Job(
            config,
            inputs["bank"],
            inputs["latents"],
            run.output,
            num_classes=len(inputs["images"].sealed().notes["class_names"]),
            context_width=_encoder(config).width,
            space=LatentSpace.from_record(inputs["latents"].sealed().notes["latent_space"]),
            report=report,
        )
        _fit(job)
    _finish(run, job)


def _fit(job: _Job) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    settings = job.config.train
    trainer = TorchTrainer(
        _train_rank,
        train_loop_config={"job": job},
        scaling_config=ScalingConfig(
            num_workers=settings.workers,
            use_gpu=settings.use_gpu,
            resources_per_worker=_resources(settings.use_gpu),
        ),
        torch_config=TorchConfig(backend="nccl" if settings.use_gpu else "gloo"),
        run_config=RunConfig(
            name="ray_train",
            storage_path=job.output.storage_path,
            failure_config=FailureConfig(max_failures=settings.max_failures),
        ),
    )
    with readable_errors("training"):
        run_interruptible(trainer.fit)


def _resources(use_gpu: bool) -> dict[str, float]:
    return {"CPU": 1, "GPU": 1} if use_gpu else {"CPU": 1}


def _train_rank(settings: dict[str, Any]) -> None:
    """What each worker of the group runs."""
    import ray.train
    from ray.train.torch import get_device

    job: _Job = settings["job"]
    context = ray.train.get_context()
    if not job.config.train.use_gpu:
        torch.set_num_threads(1)
    worker = Worker(
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        device=get_device(),
        report=lambda step, point: job.report(step, _line(point)),
        save=lambda step, files: write_step(
            job.output.files, job.steps_folder, step, files, keep=job.config.train.keep_checkpoints
        ),
    )
    rows = materialise(job.bank, job.latents, ROWS_CACHE)
    state = job.new_state()
    state.to(worker.device)
    files = read_newest_step(job.output.files, job.steps_folder, print)
    if files:
        state.restore(files)
    train(worker, job.config, rows, job.space, state)
    if context.get_local_rank() == 0:
        discard(job.bank, job.latents, ROWS_CACHE)


def _line(point: Mapping[str, float]) -> str:
    return f"loss {point['loss']:.4f}, {point['images_per_second']:.0f} images/s"


def _finish(run: StageRun, job: _Job) -> None:
    """Bundle what sampling and export need."""
    files = read_newest_step(run.output.files, job.steps_folder, run.progress.say)
    if files is None:
        raise BackendError(f"{run.output.uri}: training ended without a checkpoint.")
    curve = json.loads(files["state.json"])["curve"]
    bank = _prompt_bank(run.inputs["bank"])
    card = {
        "class_names": run.inputs["images"].sealed().notes["class_names"],
        "latent_space": job.space.to_record(),
        "text_encoder": _encoder(job.config).id,
        "context_width": job.context_width,
        "config": job.config.model_dump(mode="json"),
        "steps": job.config.train.steps,
        "curve": curve,
    }
    contents = {
        "checkpoint.json": json.dumps(card, indent=1, sort_keys=True).encode(),
        "ema.safetensors": files["ema.safetensors"],
        "raw.safetensors": files["raw.safetensors"],
        "bank.parquet": _parquet(bank.to_table()),
        **{f"autoencoder/{name}": data for name, data in stored_autoencoder(run.inputs["autoencoder"]).items()},
    }
    run.notes.update(
        {
            "rows": job.config.train.steps * job.config.train.batch_size,
            "sha256": write_checkpoint(run.output.files, f"{run.output.folder}/files/final", contents),
            "curve": curve,
            "parameters": sum(weight.numel() for weight in job.new_state().model.parameters()),
        }
    )


def _prompt_bank(version: Version) -> PromptBank:
    rows = version.read(["image_id", "label", "split", "group", "caption"])
    return PromptBank.from_rows(row for row in rows.to_pylist() if row["split"] == "train")


def _encoder(config: Config) -> TextEncoder:
    return make_text_encoder(config.bank.encoder, width=config.bank.width, max_tokens=config.bank.max_tokens)


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
