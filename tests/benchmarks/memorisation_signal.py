"""Does the norm of c - u tell copies of training images at sampling time? A model over-trained on purpose, and its ROC.

    python -m tests.benchmarks.memorisation_signal [--steps 4000] [--seed 0] [--threads 2]

Wen et al. (Detecting, Explaining, and Mitigating Memorization in Diffusion Models, ICLR 2024, arXiv 2407.21720) find
the difference of the conditional and the unconditional output larger for memorised captions. Here 400 phantoms are in
training once and 40 are in it 20 times each, all with their captions; the recipe is ``modern``. Images of the repeated
captions, of captions of the other training images and of new ones are looked up among the training images as the audit
does: a copy is nearer than 99 of 100 new phantoms. The areas are under the ROC of copies against all other images:

auc_mean     norm of c - u, mean over all solver steps
auc_early    the same over the first quarter of the steps
found_*      share of the copies found where 5 % of the other images are accused
audit_found  share of planted copies that the search finds where 1 % of the new images are accused
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from tests.benchmarks.learning import SIDE, Drawn
from tests.benchmarks.table import report
from tests.benchmarks.training_arm import Images, TrainingArm, TrainingSet, fit_latents
from vapray.captioning.prompt_set import load_prompt_set
from vapray.config.loader import load_config
from vapray.data.phantom.modalities import find_modality
from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.request_state import RequestState
from vapray.memorisation.planting import plant
from vapray.memorisation.search import NUM_NEIGHBOURS, pixel_distances
from vapray.memorisation.views import cores, thumbnails

ONCE, REPEATED, TIMES, IMAGES = 400, 40, 20, 240
QUANTILE, ACCUSED = 0.01, 0.05
Values = NDArray[np.float64]


@contextmanager
def recorded_norms() -> Iterator[dict[int, list[float]]]:
    """Norms of c - u of each step, by the seed of the image."""
    norms: dict[int, list[float]] = defaultdict(list)
    advance = SamplingEngine._advance

    def record(engine: SamplingEngine, images: Sequence[RequestState]) -> None:
        for image in images:
            conditional, unconditional = image.outputs()
            norms[image.request.seed].append(float((conditional - unconditional).norm()))
        advance(engine, images)

    SamplingEngine._advance = record  # type: ignore[assignment, method-assign]
    try:
        yield norms
    finally:
        SamplingEngine._advance = advance  # type: ignore[method-assign]


def relative_distances(images: Images, training: NDArray[np.uint8]) -> Values:
    """Distance to the nearest training image over the mean of the nearest, as the audit takes it."""
    distances = np.sort(pixel_distances(thumbnails(images), training), axis=1)
    relative: Values = distances[:, 0] / distances[:, :NUM_NEIGHBOURS].mean(axis=1)
    return relative


def area_under_roc(signal: Values, is_copy: NDArray[np.bool_]) -> float:
    """Probability that a copy has the larger signal."""
    larger = signal[is_copy][:, None] - signal[~is_copy]
    return float(((larger > 0) + 0.5 * (larger == 0)).mean())


def share_found(signal: Values, is_copy: NDArray[np.bool_]) -> float:
    """Share of copies above the threshold that accuses ``ACCUSED`` of the other images."""
    return float((signal[is_copy] > np.quantile(signal[~is_copy], 1 - ACCUSED)).mean())


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"steps": 4000, "seed": 0, "threads": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    modality, prompts = find_modality("dermoscopy"), load_prompt_set("dermoscopy")
    training, new = (
        Drawn.of(modality, prompts, count, asked.seed + shift)
        for count, shift in ((ONCE + REPEATED, 0), (IMAGES, 1000))
    )
    rows = [*range(ONCE), *np.repeat(np.arange(ONCE, ONCE + REPEATED), TIMES).tolist()]
    settings = ["sample.guidance_interval=null", f"data.image_size={SIDE}", "train.workers=1"]
    settings += [f"run.seed={asked.seed}", f"train.steps={asked.steps}"]
    config = load_config(None, settings, preset="modern")
    labels, captions = ([of[row] for row in rows] for of in (training.labels, training.captions))
    latents = fit_latents(config, training.images)
    arm = TrainingArm(TrainingSet.of(training.images[rows], labels, captions, modality.class_names, latents), config)
    while arm.state.step < asked.steps:
        arm.step()
    known = cores(thumbnails(training.images))
    chosen = {
        "repeated": (training, [ONCE + number % REPEATED for number in range(IMAGES)]),
        "once": (training, np.random.default_rng(0).permutation(ONCE)[:IMAGES].tolist()),
        "new": (new, list(range(IMAGES))),
    }
    threshold = np.quantile(relative_distances(new.images, known), QUANTILE)
    copies, norms = {}, []
    for name, (drawn, owners) in chosen.items():
        with recorded_norms() as of_seed:
            made = arm.generate([drawn.labels[one] for one in owners], [drawn.captions[one] for one in owners])
        copies[name] = relative_distances(made, known) <= threshold
        norms += [of_seed[seed] for seed in range(IMAGES)]
    signal, is_copy = np.array(norms), np.concatenate([*copies.values()])
    early = signal[:, : signal.shape[1] // 4].mean(axis=1)
    plants = [plant(image, np.random.default_rng(0)).values() for image in training.images[:REPEATED]]
    planted = np.stack([copy for of_image in plants for copy in of_image])
    values = {f"copies_of_{name}": float(found.mean()) for name, found in copies.items()}
    for name, one in (("mean", signal.mean(axis=1)), ("early", early)):
        values |= {f"auc_{name}": area_under_roc(one, is_copy), f"found_{name}": share_found(one, is_copy)}
    values["audit_found"] = float((relative_distances(planted, known) <= threshold).mean())
    report("memorisation_signal", vars(asked), {}, values)


if __name__ == "__main__":
    main()
