"""Training of the attribute judge of a reference set, from the training images of phantoms and what was drawn."""

from vapray.captioning.prompt_selection import configured_prompt_set
from vapray.config import Config
from vapray.data.dataset import true_attributes
from vapray.data.image_loading import load_square_images
from vapray.data.phantom.modalities import find_modality
from vapray.evaluation.attribute_judge import AttributeJudge, judged_attributes, train_judge
from vapray.evaluation.measurement import JUDGE, stored_judge
from vapray.runtime.cluster import run_remote
from vapray.runtime.stage_context import StageContext
from vapray.store.version import Version

__all__ = ["judge_of"]


def judge_of(run: StageContext) -> AttributeJudge | None:
    """Load or train the judge of the reference set ``run.output``, in a Ray task.

    Returns:
        The judge; None without ``evaluate.judge_steps``, and for images that were not drawn.

    Raises:
        VaprayError: errors of :func:`vapray.runtime.cluster.run_remote`.
    """
    if not run.config.evaluate.judge_steps or run.config.data.source != "phantom":
        return None
    arguments = (run.config, run.inputs["images"], run.output)
    pool, log = run.config.pools.evaluate, run.progress.log
    found: AttributeJudge = run_remote(run.name, _load_or_train, *arguments, pool=pool, log=log)
    return found


def _load_or_train(config: Config, images: Version, output: Version) -> AttributeJudge:
    truths = true_attributes(config)
    assert truths is not None
    specs = judged_attributes(configured_prompt_set(config), list(truths.values()))
    if stored := stored_judge(output, specs):  # existing rows may depend on it
        return stored
    rows = images.read(["image_id", "split", "path"]).to_pylist()
    training = [row for row in rows if row["split"] == "train" and row["image_id"] in truths]
    frames, kept, _ = load_square_images([row["path"] for row in training], config.data.image_size)
    known = [truths[training[position]["image_id"]] for position in kept]
    upright, steps = find_modality(config.data.modality).upright, config.evaluate.judge_steps
    judge = train_judge(frames, known, specs, upright=upright, steps=steps)
    output.files.write(f"{output.folder}/files/{JUDGE}", judge.to_safetensors())
    return judge
