"""TensorBoard's event file on an object store: whole at the end, and one only after a restart."""

from tests.object_storage.proxy import Fault
from tests.training.events import read_curves
from tests.training.tiny import run, tiny_config, tiny_state
from vapray.store.run_store import Store
from vapray.training.tracking import tracked


def test_the_event_file_is_one_object_that_holds_the_whole_curve(root, tmp_path):
    config, output, said = tiny_config("train.tracker=tensorboard"), Store(root).version("checkpoints", "a"), []
    folder = f"{output.folder}/files/tensorboard"
    state = tiny_state(config)
    for steps in (3, 6):
        with tracked(config, output, state, said.append) as track:
            run(tiny_config(f"train.steps={steps}", "train.lr_schedule=constant"), state, report=track)
    (name,) = output.files.names(folder)
    (tmp_path / name).write_bytes(output.files.read(f"{folder}/{name}"))
    assert [step for step, _ in read_curves(tmp_path)["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert said == []


def test_a_store_that_refuses_the_event_file_is_mentioned_once(root, proxy):
    config, output, said = tiny_config("train.tracker=tensorboard"), Store(root).version("checkpoints", "a"), []
    proxy.plan = lambda request: Fault("error", status=403, code="AccessDenied")
    with tracked(config, output, tiny_state(config), said.append) as track:
        state = run(config, tiny_state(config), report=track)
    assert proxy.faults, "nothing was refused"
    assert state.step == 6
    assert len(said) == 1
    assert said[0].startswith("train.tracker=tensorboard: ")
