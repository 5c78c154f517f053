"""train: the tables ``bank`` and ``latents`` become checkpoints, by Ray Train.

in    rows of the train split: label, context float16 [L, width], moments float16 [2C, h, w] and their mirror image
out   files/steps/step-N (training state), files/final (to sample from); what is in them: ``vapray.checkpoint``

Every rank maps the same node-local arrays and takes its own places of each global batch. A rank that dies takes the
worker group down; Ray Train starts it again, and it goes on from the newest whole training state. A run that is told
to end asks for a last training state first.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch

from vapray.bank.prompt_bank import PromptBank
from vapray.bank.text_encoder import text_encoder_of
from vapray.board import Board, watched
from vapray.checkpoint import read_newest_step, write_checkpoint, write_step
from vapray.cluster import readable_errors, require, run_interruptible
from vapray.config import Config
from vapray.errors import BackendError, CheckpointError, TrainingDiverged, VaprayError
from vapray.latents.latent_space import LatentSpace
from vapray.latents.opening import stored_autoencoder
from vapray.models.cost import forward_flops
from vapray.stage_run import StageRun
from vapray.store import Version
from vapray.training.dataset import discard, materialise
from vapray.training.final import final_checkpoint, final_notes
from vapray.training.loop import Worker, train
from vapray.training.network import Network, build_network
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
    board: Board
    validate: Callable[[Network], float] | None

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

    def state_on(self, device: torch.device) -> TrainingState:
        """Where the newest checkpoint left off."""
        state = self.new_state()
        state.to(device)
        if files := self.newest_files(print):
            state.restore(files)
        return state

    def newest_files(self, say: Callable[[str], None]) -> dict[str, bytes] | None:
        strict = self.config.train.strict_checkpoints
        return read_newest_step(self.output.files, self.steps_folder, say, strict=strict)


def run(run: StageRun) -> None:
    """Run the stage."""
    config, inputs = run.config, run.inputs
    workers = config.train.workers
    require(cpus=workers, gpus=workers * config.train.use_gpu, why=f"train.workers {workers}")
    with watched(run.progress) as board:
        job = _Job(
            config,
            inputs["bank"],
            inputs["latents"],
            run.output,
            num_classes=len(inputs["images"].sealed().notes["class_names"]),
            context_width=text_encoder_of(config.bank).width,
            space=LatentSpace.from_record(inputs["latents"].sealed().notes["latent_space"]),
            board=board,
            validate=run.validate,
        )
        try:
            standing = job.newest_files(run.progress.say)  # said here, for a worker's words are heard by nobody
            done = json.loads(standing["state.json"])["step"] if standing else 0
            run.progress.expect(config.train.steps, "steps", done=done)
            run.progress.say(f"starting {workers} worker{'s' if workers > 1 else ''}")
            _fit(job)
        except KeyboardInterrupt:
            _save_before_the_end(run, board)
            raise
    _finish(run, job)


def _save_before_the_end(run: StageRun, board: Board) -> None:
    if board.progress() is None:  # the workers are still starting: there is nothing to save, and nobody to wait for
        return
    grace = run.config.train.grace_seconds
    run.progress.say(f"ending: waiting up to {grace:g} s for a checkpoint")
    board.ask_to_save()
    deadline = time.monotonic() + grace
    while (step := board.saved()) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    run.progress.say("no checkpoint was written in time" if step is None else f"checkpoint written at step {step}")


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
            storage_path=job.output.uri,
            failure_config=FailureConfig(max_failures=settings.max_failures),
        ),
    )
    with readable_errors("training"):
        result = run_interruptible(trainer.fit)
    if isinstance(result.return_value, VaprayError):
        raise result.return_value


def _resources(use_gpu: bool) -> dict[str, float]:
    return {"CPU": 1, "GPU": 1} if use_gpu else {"CPU": 1}


def _train_rank(settings: dict[str, Any]) -> Any:
    """What each worker of the group runs; what a restart would only meet again is an answer, not a failure."""
    import ray.train
    from ray.train.torch import get_device

    job: _Job = settings["job"]
    context = ray.train.get_context()
    if not job.config.train.use_gpu:
        torch.set_num_threads(1)
    rows = materialise(job.bank, job.latents, ROWS_CACHE)
    worker = _worker(job, context.get_world_rank(), context.get_world_size(), get_device())
    try:
        state = job.state_on(worker.device)
    except CheckpointError as error:
        return error
    try:
        train(worker, job.config, rows, job.space, state)
    except TrainingDiverged as error:
        return error
    if context.get_local_rank() == 0:
        discard(job.bank, job.latents, ROWS_CACHE)
    return None


def _worker(job: _Job, rank: int, world: int, device: torch.device) -> Worker:
    asked = threading.Event()
    if rank == 0:
        threading.Thread(target=_listen, args=(job.board, asked), daemon=True).start()

    def save(step: int, files: Mapping[str, bytes]) -> None:
        was_asked = asked.is_set()
        write_step(job.output.files, job.steps_folder, step, files, keep=job.config.train.keep_checkpoints)
        if was_asked:
            asked.clear()
            job.board.say_saved(step)

    return Worker(
        rank=rank,
        world=world,
        device=device,
        report=lambda step, point: job.board.post(step, _line(point)),
        save=save,
        is_save_asked=asked.is_set,
        validate=job.validate,
    )


def _listen(board: Board, asked: threading.Event) -> None:
    """A driver asks at most once, then it ends."""
    while not board.is_asked_to_save():
        time.sleep(0.5)
    asked.set()


def _line(point: Mapping[str, float]) -> str:
    return f"loss {point['loss']:.4f}, {point['images_per_second']:.0f} images/s"


def _finish(run: StageRun, job: _Job) -> None:
    state = job.newest_files(run.progress.say)
    if state is None or json.loads(state["state.json"])["step"] != job.config.train.steps:
        raise BackendError(
            f"{run.output.uri}: training ended without a whole checkpoint of its last step. Run the same command again."
        )
    contents = final_checkpoint(
        job.config,
        state,
        PromptBank.of(run.inputs["bank"]),
        stored_autoencoder(run.inputs["autoencoder"]),
        job.space,
        run.inputs["images"].sealed().notes["class_names"],
    )
    network, shape = job.new_state().model, (job.space.channels, job.space.side, job.space.side)
    tokens = round(pc.mean(run.inputs["bank"].read(["L"]).column("L")).as_py())
    run.notes.update(
        {
            **final_notes(state),
            "rows": job.config.train.steps * job.config.train.batch_size,
            "sha256": write_checkpoint(run.output.files, f"{run.output.folder}/files/final", contents),
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "forward_flops": forward_flops(network, shape, tokens, job.context_width),
        }
    )
