"""What fits where: on one node, as often as it is wanted; and what is said where it does not."""

import pytest

from vapray.config import Config
from vapray.config.loader import load_config
from vapray.errors import ConfigError
from vapray.pipeline.stages import STAGES
from vapray.runtime.placement import ResourceDemand, bundles_per_node, resource_demands, shortfall

NODES = {
    "node a": {"CPU": 16.0, "GPU": 2.0, "node:10.0.0.1": 1.0},
    "node b": {"CPU": 8.0, "GPU": 1.0, "caption": 1.0},
    "node c": {"CPU": 64.0},
}


@pytest.mark.parametrize(
    ("bundle", "count"),
    [({"CPU": 16}, 5), ({"GPU": 0.1}, 30), ({"GPU": 2}, 1), ({"CPU": 1, "GPU": 1}, 3), ({"CPU": 8, "caption": 1}, 1)],
)
def test_nodes_hold_a_bundle_so_often_and_no_more(bundle, count):
    assert sum(bundles_per_node(node, bundle) for node in NODES.values()) == count
    assert shortfall(ResourceDemand("it", bundle, count), NODES) is None
    assert shortfall(ResourceDemand("it", bundle, count + 1), NODES)


SAID = {
    "no node is large enough": (
        ResourceDemand("an actor", {"CPU": 2, "GPU": 3}),
        "an actor needs 2 CPUs and 3 GPUs on one node, and the largest, node a, has 16 CPUs and 2 GPUs",
    ),
    "no node has both": (
        ResourceDemand("an actor", {"CPU": 32, "caption": 1}),
        "an actor needs 32 CPUs and 1 caption on one node, and the largest, node b, has 8 CPUs and 1 caption",
    ),
    "all together have too little": (
        ResourceDemand("train.workers 4", {"GPU": 1}, 4),
        "needs 4 GPUs and the cluster has 3",
    ),
    "places do not add up": (
        ResourceDemand("train.workers 2", {"GPU": 1.5}, 2),
        "needs 2 bundles with 1.5 GPUs each and the cluster has 1, since no bundle is split over two nodes",
    ),
    "no node at all": (ResourceDemand("an actor", {"CPU": 1}), "an actor needs 1 CPUs and the cluster has 0"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_missing_is_said_with_the_nearest_node(case):
    demand, words = SAID[case]
    missing = shortfall(demand, {} if case == "no node at all" else NODES)
    assert missing and words in missing


def test_a_share_that_floats_badly_counts_whole():
    assert bundles_per_node({"GPU": 1.0}, {"GPU": 0.1}) == 10


def test_every_stage_that_uses_ray_asks_for_places():
    asking = {stage for demand in resource_demands(Config()) for stage in demand.stages}
    assert asking == {stage.name for stage in STAGES if stage.uses_ray}


def test_where_work_runs_is_in_no_fingerprint():
    sections = {section for stage in STAGES for section in stage.config_keys}
    assert "train.resources_per_worker" not in sections and "train.learning_rate" in sections
    assert not any(section.startswith("pools") for section in sections)


WRONG = {
    "pools.caption.resources={caption: 0}": "expected keys of your own, each a number, at least 0.0001",
    "pools.caption.resources={caption: .inf}": "expected keys of your own",
    "pools.caption.resources={caption: true}": "expected keys of your own",
    "pools.caption.resources=caption": "expected keys of your own",
    "pools.caption.resources={GPU: 1}": "= GPU: expected a custom resource, such as caption. Or set pools.",
    "train.resources_per_worker={CPU: 2}": "train.resources_per_worker = CPU: expected a custom resource",
}


@pytest.mark.parametrize("override", WRONG)
def test_resources_that_cannot_be_are_refused(override):
    with pytest.raises(ConfigError) as refusal:
        load_config(None, [override])
    assert WRONG[override] in str(refusal.value)


def test_elastic_training_needs_places_for_the_fewest_alone():
    config = load_config(None, ["train.workers=8", "train.min_workers=2", "train.use_gpu=true", "train.batch_size=64"])
    demand = list(resource_demands(config))[-1]
    assert (demand.count, demand.bundle) == (2, {"CPU": 1, "GPU": 1})
