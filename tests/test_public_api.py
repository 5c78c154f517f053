"""The public names of `vapray` are imported on first use; its metrics run on plain arrays."""

import subprocess
import sys

import numpy as np
import pytest

import vapray
from vapray.bank.prompt_bank import PromptBank
from vapray.config.loader import load_config
from vapray.metrics import (
    FeatureStatistics,
    frechet_distance,
    inception_score,
    kernel_inception_distance,
    prd_scores,
    prdc_scores,
)
from vapray.pipeline.runner import run_pipeline
from vapray.sampling.sampler import Sampler


def modules_after(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has imported after ``statement``."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_import_vapray_loads_no_large_package() -> None:
    assert not modules_after("import vapray") & {"torch", "ray", "pyarrow", "numpy", "pydantic"}


def test_metrics_need_no_ray_no_store_and_no_config() -> None:
    loaded = modules_after("from vapray import metrics; metrics.kernel_inception_distance")
    assert not loaded & {"ray", "pyarrow", "pydantic", "yaml"}


def test_public_names_are_the_objects_of_their_modules() -> None:
    assert vapray.Sampler is Sampler
    assert vapray.PromptBank is PromptBank
    assert vapray.load_config is load_config
    assert vapray.run_pipeline is run_pipeline
    assert vapray.metrics.kernel_inception_distance is kernel_inception_distance
    assert set(vapray.__all__) <= set(dir(vapray))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'vapray' has no attribute 'sampler_of'"):
        vapray.sampler_of  # noqa: B018


@pytest.mark.parametrize("name", vapray.metrics.__all__)
def test_every_public_metric_has_a_docstring(name: str) -> None:
    found = getattr(vapray.metrics, name)
    assert found.__doc__ and not found.__doc__.startswith(f"{name}(")


def test_metrics_run_on_random_arrays() -> None:
    rng = np.random.default_rng(0)
    real, made = rng.standard_normal((60, 8)), rng.standard_normal((50, 8)) + 0.5
    statistics = FeatureStatistics.of(real)
    assert frechet_distance(statistics, statistics) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(statistics, FeatureStatistics.of(made)) > 0.5
    assert kernel_inception_distance(real, made, subsets=5).mean > 0
    same = prdc_scores(real, real)
    assert (same.precision, same.recall, same.coverage) == (1.0, 1.0, 1.0)
    assert 0 <= prd_scores(real, made, clusters=5, runs=2).f8 <= 1
    assert 1 <= inception_score(rng.dirichlet(np.ones(4), 60)).mean <= 4
