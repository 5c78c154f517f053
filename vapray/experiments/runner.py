"""Execution of an experiment's runs, in sequence or in parallel; finished runs are skipped."""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from vapray.captioning.prompt_selection import select_prompt_set
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.config.renamed_keys import new_key
from vapray.errors import BackendError, ConfigError
from vapray.experiments.folders import measure_folder
from vapray.experiments.records import Record, RunName, changed_settings, deciding_settings, read_record, write_record
from vapray.experiments.results import OUTCOMES
from vapray.experiments.spec import Experiment
from vapray.pipeline.runner import run_pipeline
from vapray.pipeline.stages import EXTERNAL_INPUTS, STAGES, with_inputs
from vapray.runtime.cluster import ray_session
from vapray.runtime.progress import Display
from vapray.store.files import FileStore
from vapray.store.version import Version

__all__ = ["ANYWHERE", "finished_runs", "pending_runs", "run_all", "run_names", "run_parallel", "settings_of"]

ANYWHERE = "data.root=."
"""Placeholder for tables of finished runs, which need no dataset."""


def run_names(experiment: Experiment, rows: Sequence[str] = (), seeds: Sequence[int] = ()) -> Iterator[RunName]:
    """List every run, seeds outermost, so that pairs finish first; a folder has one run, of the first seed.

    Raises:
        ConfigError: ``rows`` or ``seeds`` has an unknown entry.
    """
    if unknown := [row for row in rows if row not in experiment.arms]:
        raise ConfigError(f"--row {unknown[0]}: unknown. Rows: {', '.join(experiment.arms)}.")
    if other := [seed for seed in seeds if seed not in experiment.seeds]:
        raise ConfigError(f"--seed {other[0]}: unknown. Seeds: {', '.join(map(str, experiment.seeds))}.")
    for seed in seeds or experiment.seeds:
        for row in rows or experiment.arms:
            if experiment.arms[row].folder is None or seed == experiment.seeds[0]:
                for measure in experiment.evaluators:
                    yield RunName(row, measure, seed)


def settings_of(
    experiment: Experiment, name: RunName, overrides: Sequence[str] = (), *, unless_given: Sequence[str] = ()
) -> Config:
    """Load the complete configuration of a run.

    Args:
        experiment: description of the experiment.
        name: name of the run.
        overrides: overrides of all runs.
        unless_given: overrides of all runs that the experiment's own settings replace.

    Raises:
        ConfigError: invalid settings, with their row, or an override of a key in which runs differ.
    """
    if same := sorted({new_key(override.partition("=")[0]) for override in overrides} & experiment.varied):
        raise ConfigError(f"{same[0]}: runs of this experiment differ in it. Fix: select runs by --row and --seed.")
    try:
        settings = [*unless_given, *experiment.overrides(name.row, name.measure, name.seed)]
        config = load_config(experiment.config, overrides, settings)
        if conflict := OUTCOMES[experiment.stage].validate(config, experiment.all_numbers):
            raise ConfigError(conflict)
        select_prompt_set(config)
    except ConfigError as error:
        raise ConfigError(f"row {name.row!r}: {error}") from None
    return config


def finished_runs(
    experiment: Experiment, names: Iterable[RunName], results: FileStore, overrides: Sequence[str] = ()
) -> dict[RunName, Record]:
    """Read the records of the finished runs; the dataset is not needed.

    Raises:
        ConfigError: a record has other settings than the experiment.
    """
    found = {}
    for name in names:
        if (record := read_record(results, name)) is None:
            continue
        config = settings_of(experiment, name, overrides, unless_given=[ANYWHERE])
        if keys := changed_settings(record.settings, deciding_settings(config, _stages(experiment, config))):
            raise ConfigError(
                f"{results.path(name.file)} was made with other settings ({', '.join(keys[:3])}). Fix: delete it to "
                "rerun it, or set another --results."
            )
        found[name] = record
    return found


def run_all(
    experiment: Experiment, names: Sequence[RunName], results: FileStore, overrides: Sequence[str], display: Display
) -> None:
    """Execute the runs without a record, and write their records.

    Raises:
        ConfigError: a record has other settings than the experiment.
        VaprayError: the error of the failed run; earlier records are kept.
    """
    missing = pending_runs(experiment, names, results, overrides, display)
    with ExitStack() as stack:
        for number, name in enumerate(missing, start=1):
            config = settings_of(experiment, name, overrides)
            if number == 1:
                stack.enter_context(ray_session(config.cluster))
            display.print(f"\nRun {number} of {len(missing)}: {name.row}, {name.measure}, seed {name.seed}")
            write_record(results, name, _made(experiment, name, config, display))


def run_parallel(names: Sequence[RunName], display: Display, *, command: Sequence[str], workers: int) -> None:
    """Execute every row and seed in a process of its own, several at a time.

    A table version that two processes need is written by one; the other waits for it.

    Args:
        names: names of the pending runs.
        display: output for the stages of each run.
        command: command of the experiment, to which ``--row`` and ``--seed`` are added.
        workers: processes at a time.

    Raises:
        BackendError: some runs failed; the others are finished first.
    """
    pairs = list(dict.fromkeys((name.row, name.seed) for name in names))
    running: set[subprocess.Popen[str]] = set()

    def make(pair: tuple[str, int]) -> str:
        row, seed = pair
        return _run_subprocess([*command, "--row", row, "--seed", str(seed)], f"{row}, seed {seed}", running, display)

    with ThreadPoolExecutor(workers) as pool:
        try:
            failed = [name for name in pool.map(make, pairs) if name]
        except BaseException:  # Ctrl-C and SIGTERM may not reach the processes
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running.copy():
                process.terminate()
            raise
    if failed:
        raise BackendError(
            f"{len(failed)} of {len(pairs)} failed: {'; '.join(failed)}. The causes are logged above. Fix: remove them "
            "and rerun the same command; finished runs are kept."
        )


def _run_subprocess(command: Sequence[str], name: str, running: set[subprocess.Popen[str]], display: Display) -> str:
    """Run a command of vapray in a process of its own; return ``name`` if it failed."""
    start = [sys.executable, "-c", "from vapray.cli.app import main; main()"]
    said: list[str] = []  # since the last line of a stage: the cause of a failure
    with subprocess.Popen(
        [*start, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        running.add(process)
        assert process.stdout is not None
        for line in map(str.strip, process.stdout):
            said.append(line)
            if line.startswith("["):
                said.clear()
                display.print(f"{name}: {line}")
    running.discard(process)
    why = f"exit code {process.returncode}. " + "\n".join(filter(None, said))
    display.print(f"{name}: {why if process.returncode else 'done'}")
    return name if process.returncode else ""


def pending_runs(
    experiment: Experiment, names: Sequence[RunName], results: FileStore, overrides: Sequence[str], display: Display
) -> Sequence[RunName]:
    """List the runs without a record, and log their number.

    Raises:
        ConfigError: a record has other settings than the experiment.
    """
    finished = finished_runs(experiment, names, results, overrides)
    display.print(f"Found {len(finished)} of {len(names)} finished runs.")
    return [name for name in names if name not in finished]


def _made(experiment: Experiment, name: RunName, config: Config, display: Display) -> Record:
    outcome = OUTCOMES[experiment.stage]
    stages = _stages(experiment, config)
    settings = deciding_settings(config, stages)
    if (folder := experiment.arms[name.row].folder) is not None:
        images = run_pipeline(config, ["ingest"], display, shared_root=True)["images"]
        metrics = measure_folder(folder, images, config, display.print)
        return Record(name.row, name.measure, name.seed, settings, metrics, {})
    written = {stage.writes for stage in STAGES if stage.name in stages}
    walked = run_pipeline(config, stages, display, shared_root=True)
    finished = {table: version for table, version in walked.items() if table in written}
    metrics, budget = outcome.read(finished[outcome.table]), _budget(finished, config)
    return Record(name.row, name.measure, name.seed, settings, metrics, budget, _outside(finished))


def _stages(experiment: Experiment, config: Config) -> tuple[str, ...]:
    """Return the stages of a run, in order."""
    return with_inputs(OUTCOMES[experiment.stage].stages, config)


def _outside(finished: Mapping[str, Version]) -> dict[str, dict[str, str]]:
    """Return what each stage read besides tables and settings, without paths of this machine."""
    found = {}
    for stage in STAGES:
        if stage.writes in finished and stage.name != "ingest":
            inputs = finished[stage.writes].require_manifest().inputs
            found[stage.name] = {what: inputs[what] for what in EXTERNAL_INPUTS.get(stage.name, ()) if inputs.get(what)}
    return {name: hashes for name, hashes in found.items() if hashes}


def _budget(finished: Mapping[str, Version], config: Config) -> dict[str, float]:
    if "checkpoints" not in finished:
        return {}
    manifest = finished["checkpoints"].require_manifest()
    return {
        "parameters": manifest.notes["parameters"],
        "forward_flops": manifest.notes["forward_flops"],
        "steps": config.train.steps,
        "images": manifest.notes["rows"],
        "train_seconds": manifest.seconds,
    }
