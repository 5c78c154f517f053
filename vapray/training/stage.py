"""Stage train: tables ``prompt_bank`` and ``latents`` to checkpoints, with Ray Train.

in    rows of the train split: label, context float16 [L, width], moments float16 [2C, h, w] and their mirror image
out   files/steps/step-N (training state), files/final (for sampling); see ``vapray.store.checkpoint``

Every rank maps the same node-local arrays and takes its own positions of each global batch. A rank's death ends the
worker group; Ray Train restarts the group, which continues from the latest complete training state. An interrupted run
requests a last training state before it ends.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch

from vapray.bank.factory import build_text_encoder
from vapray.bank.prompt_bank import PromptBank
from vapray.config import Train
from vapray.data.origins import OriginSummary
from vapray.errors import BackendError, CheckpointError, TrainingDivergedError, VaprayError
from vapray.latents.latent_space import LatentSpace
from vapray.latents.loading import read_autoencoder_files
from vapray.models.flop_counter import count_flops
from vapray.models.precision import keep_float32_exact
from vapray.runtime.cluster import require_resources, run_in_thread, unwrap_ray_errors
from vapray.runtime.driver_channel import DriverChannel, open_driver_channel
from vapray.runtime.placement import train_demand
from vapray.runtime.stage_context import StageContext
from vapray.store.checkpoint import latest_step, write_checkpoint
from vapray.training.dataset import TrainingRows, delete_cache, open_or_build_cache
from vapray.training.final import final_checkpoint, final_notes
from vapray.training.job import TrainingJob, Validation
from vapray.training.loop import train
from vapray.training.oom import oom_error
from vapray.training.rank_context import open_rank_context
from vapray.training.state import TrainingState

__all__ = ["run", "scaling_of"]

START_TIMEOUT, SECONDS_FOR_FEWER = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30"
"""Start timeout of an elastic group, in seconds; after it Ray retries with fewer workers, since lost nodes are noticed
late."""
ROWS_CACHE = Path(tempfile.gettempdir()) / f"vapray-rows-{os.getuid()}"


def run(run: StageContext) -> None:
    """Run the stage."""
    config, inputs = run.config, run.inputs
    workers = config.train.workers
    least = config.train.min_workers or workers
    require_resources(train_demand(config), log=run.progress.log)
    encoder = build_text_encoder(config.text_encoder)
    with open_driver_channel(run.progress) as board:
        job = TrainingJob(
            config,
            inputs["prompt_bank"],
            inputs["latents"],
            run.output,
            num_classes=len(inputs["images"].require_manifest().notes["class_names"]),
            context_width=encoder.width,
            space=LatentSpace.from_record(inputs["latents"].require_manifest().notes["latent_space"]),
            board=board,
            validate=run.validate,
            empty_context=encoder.encode_empty() if config.model.null_text == "empty" else None,
        )
        try:
            done = latest_step(run.output.files, job.steps_folder)
            run.progress.set_total(config.train.steps, "steps", done=done)
            run.progress.log(f"starting {_range(least, workers)}")
            _fit(job)
        except KeyboardInterrupt:
            _save_before_the_end(run, board)
            raise
    _finish(run, job)


def _range(least: int, most: int) -> str:
    return f"{least} to {most} workers" if least < most else f"{most} worker{'s' if most > 1 else ''}"


def _save_before_the_end(run: StageContext, board: DriverChannel) -> None:
    if board.progress() is None:  # the workers are still starting, so there is no state to save
        return
    grace = run.config.train.grace_seconds
    run.progress.log(f"interrupted: waiting up to {grace:g} s for a checkpoint")
    board.request_checkpoint()
    deadline = time.monotonic() + grace
    while (step := board.saved()) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    run.progress.log("no checkpoint was written in time" if step is None else f"checkpoint written at step {step}")


def _fit(job: TrainingJob) -> None:
    from ray.train import FailureConfig, RunConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    settings = job.config.train
    if isinstance(_numbers_of_workers(settings), tuple):
        os.environ[START_TIMEOUT] = SECONDS_FOR_FEWER
    trainer = TorchTrainer(
        _train_rank,
        train_loop_config={"job": job},
        scaling_config=scaling_of(settings),
        torch_config=TorchConfig(backend="nccl" if settings.use_gpu else "gloo"),
        run_config=RunConfig(
            name="ray_train",
            storage_path=job.output.uri,
            failure_config=FailureConfig(max_failures=settings.max_failures),
        ),
    )
    try:
        with unwrap_ray_errors("training"):
            result = run_in_thread(trainer.fit)
    except VaprayError:
        if told := job.board.get_failure():  # the other ranks' errors are consequences of this one
            raise told from None
        raise
    if isinstance(result.return_value, VaprayError):
        raise result.return_value


def scaling_of(settings: Train) -> Any:
    """Build Ray's ``ScalingConfig``: number of workers, and the resources of each."""
    from ray.train import ScalingConfig

    workers = _numbers_of_workers(settings)
    return ScalingConfig(num_workers=workers, use_gpu=settings.use_gpu, resources_per_worker=settings.bundle)


def _numbers_of_workers(settings: Train) -> Any:
    least, most = settings.min_workers, settings.workers
    return (least, most) if 0 < least < most else most


def _train_rank(settings: dict[str, Any]) -> Any:
    """Run one worker of the group; an error that a restart would repeat is returned, not raised."""
    import ray.train
    from ray.train.collective import barrier
    from ray.train.torch import get_device

    job: TrainingJob = settings["job"]
    if failure := job.board.get_failure():
        return failure
    context = ray.train.get_context()
    if not job.config.train.use_gpu:
        torch.set_num_threads(1)
    rows = open_or_build_cache(job.bank, job.latents, ROWS_CACHE)
    barrier()  # has no time limit, unlike torch's exchanges; a new node may copy rows for an hour
    device = get_device()
    keep_float32_exact()
    try:
        state = job.load_or_init_state(print if context.get_world_rank() else job.board.log)
        ranks = context.get_world_rank(), context.get_world_size()
        if ranks[0] == 0 and job.validate is not None:
            _prepare(job, job.validate)
        flops = _step_flops(job, state, rows, ranks[1]) if device.type == "cuda" else None
        with open_rank_context(job, *ranks, device, state, flops) as worker:
            train(worker, job.config, rows, job.space, state)
    except TrainingDivergedError as error:
        return error
    except CheckpointError as error:
        if context.get_world_size() == 1:
            return error
        job.board.fail(error)  # raised, as for memory, because the other ranks may have no error and wait
        raise
    except (RuntimeError, MemoryError) as error:
        advice = oom_error(
            error,
            job.config,
            num_classes=job.num_classes,
            device=device,
            workers=context.get_world_size(),
            sharing=context.get_local_world_size(),
        )
        if advice is not None:
            job.board.fail(advice)
        raise  # the other ranks wait for this one
    if context.get_local_rank() == 0:
        delete_cache(job.bank, job.latents, ROWS_CACHE)
    return None


def _prepare(job: TrainingJob, validation: Validation) -> None:
    """Load what validations need; an error, such as missing weights, is told to the driver and not repeated."""
    try:
        validation.prepare()
    except VaprayError as error:
        job.board.fail(error)
        raise


def _step_flops(job: TrainingJob, state: TrainingState, rows: TrainingRows, world: int) -> float:
    """Count a step of one rank: three forward passes of each image, with captions of mean length."""
    shape, tokens = (job.space.channels, job.space.side, job.space.side), round(float(np.diff(rows.offsets).mean()))
    forward = count_flops(state.model, shape, tokens, job.context_width)
    return 3.0 * forward * job.config.train.batch_size / world


def _finish(run: StageContext, job: TrainingJob) -> None:
    state = job.latest_state_files(run.progress.log)
    if state is None or json.loads(state["state.json"])["step"] != job.config.train.steps:
        raise BackendError(
            f"{run.output.uri}: training ended without a complete last checkpoint. Fix: rerun the same command."
        )
    notes = run.inputs["images"].require_manifest().notes
    contents = final_checkpoint(
        job.config,
        state,
        PromptBank.from_version(run.inputs["prompt_bank"]),
        read_autoencoder_files(run.inputs["autoencoder"]),
        job.space,
        notes["class_names"],
        OriginSummary.from_record(notes.get("origins")),
        run.inputs["prompt_bank"].require_manifest().notes.get("untrusted", {}),
    )
    network, shape = job.network(), (job.space.channels, job.space.side, job.space.side)
    tokens = round(pc.mean(run.inputs["prompt_bank"].read(["num_tokens"]).column("num_tokens")).as_py())
    run.notes.update(
        {
            **final_notes(state),
            "rows": job.config.train.steps * job.config.train.batch_size,
            "sha256": write_checkpoint(run.output.files, f"{run.output.folder}/files/final", contents),
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "forward_flops": count_flops(network, shape, tokens, job.context_width),
        }
    )
