"""Distribution of tests over the workers of pytest-xdist.

xdist's own ``--dist loadgroup`` does not do it: with pytest 9.2 it ignores the marks ``xdist_group``.
"""

from xdist.scheduler import LoadScopeScheduling

__all__ = ["GroupScheduling", "place"]

# What workers take first, in this order: long work that does not need the small run, the test that makes the small run,
# work to do meanwhile, and long work that needs it. Short tests come last, so that the workers end together.
FIRST = (
    "tests/captioning/test_vllm_faults.py",
    "tests/captioning/test_vaps.py",
    "tests/captioning/test_adversarial_picture.py",
    "tests/faults/test_storm.py::test_a_storm",
    "tests/faults/test_storm.py::test_a_driver_killed_on_a_cluster",
    "tests/faults/test_storm.py::test_a_task_whose_process",
    "tests/cluster/test_lost_machines.py",
    "tests/cluster/test_jobs_from_outside.py",
    "tests/pipeline/test_pipeline.py::test_every_stage_left_its_table",
    "tests/cluster/test_placement.py",
    "tests/training",
    "tests/latents",
    "tests/serve/test_service.py",
    "tests/object_storage/test_pipeline_on_s3.py",
    "tests/experiments/test_command.py",
    "tests/pipeline/test_pipeline.py",
    "tests/pipeline/test_pipeline_faults.py",
    "tests/faults",
    "tests/serve/test_rolling_update.py",
    "tests/serve/test_scaling.py",
    "tests/cli/test_cli.py",
    "tests/evaluation",
    "tests/serve",
)
# Tests that share an expensive fixture beyond one file, or within a part of one.
TOGETHER = (
    ("tests/captioning/test_vaps.py", "tests/captioning/test_adversarial_picture.py"),
    (
        "tests/cluster/test_lost_machines.py::test_a_rank_is_killed",
        "tests/cluster/test_lost_machines.py::test_a_second_run_is_refused",
    ),
    (
        "tests/cluster/test_placement.py::test_a_stage_whose_nodes_an_autoscaler_adds",
        "tests/cluster/test_placement.py::test_what_no_node_type_of_the_autoscaler",
    ),
    (
        "tests/experiments/test_command.py::test_numbers_of_a_run",
        "tests/experiments/test_command.py::test_a_folder_of_pictures",
        "tests/experiments/test_command.py::test_the_same_command_again",
    ),
)
# Files in which no other two tests share a fixture: workers share the file.
INDEPENDENT = (
    "tests/pipeline/test_pipeline.py",
    "tests/pipeline/test_pipeline_faults.py",
    "tests/cli/test_cli.py",
    "tests/bad_inputs/test_cli.py",
    "tests/experiments/test_command.py",
)


class GroupScheduling(LoadScopeScheduling):
    """Give the tests of one group to one worker; the tests of a file are a group, unless a constant above says more."""

    def _split_scope(self, nodeid: str) -> str:
        for group in TOGETHER:
            if nodeid.startswith(group):
                return group[0]
        return nodeid if nodeid.startswith(INDEPENDENT) else nodeid.partition("::")[0]


def place(nodeid: str) -> int:
    """Place of a test in the order in which workers take them."""
    return next((place for place, name in enumerate(FIRST) if nodeid.startswith(name)), len(FIRST))
