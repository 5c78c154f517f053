"""What a stage reads besides tables and settings is in its fingerprint too."""

import shutil
from importlib.resources import files

import pytest

from vapray.captioning.content_hash import captions_content_hash, prompts_content_hash
from vapray.config.loader import load_config
from vapray.data.dataset import dataset_content_hash
from vapray.data.stage import check_class_names
from vapray.errors import ConfigError, DataError
from vapray.pipeline.stages import select_stages


def test_a_changed_word_in_a_prompt_set_changes_its_signature(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text((files("vapray.captioning.prompts") / "dermoscopy.yaml").read_text())
    config = load_config(None, [f"caption.prompt_set={path}"])
    before = prompts_content_hash(config)
    path.write_text(path.read_text() + "\n# a remark\n")
    assert prompts_content_hash(config) != before


def test_a_mended_caption_changes_the_signature_of_given_captions(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("image_id,caption\na,red\n")
    config = load_config(None, ["caption.captioner=precomputed", f"caption.captions_file={path}"])
    before = captions_content_hash(config)
    path.write_text("image_id,caption\na,reddish\n")
    assert captions_content_hash(config) != before
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        captions_content_hash(config)


def test_a_moved_dataset_is_another_dataset(tmp_path):
    from PIL import Image

    for split in "ab":
        (tmp_path / "photos" / split).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / split / "x.png")
    shutil.copytree(tmp_path / "photos", tmp_path / "moved", copy_function=shutil.copy2)
    configs = [
        load_config(None, ["data.source=folder", f"data.root={tmp_path / name}"]) for name in ("photos", "moved")
    ]
    assert dataset_content_hash(configs[0]) != dataset_content_hash(configs[1])


def test_a_change_of_how_fast_is_no_change(small_run, job):
    done = job("pipeline", "pools.caption.max_size=4", "train.max_failures=9", "train.log_every=3", root=small_run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("unchanged") == len(select_stages(None))


@pytest.mark.parametrize("name", ["../../x", "a/b", ".hidden", "a\nb", "a\\b"])
def test_a_class_name_that_is_no_folder_name_is_refused(name):
    check_class_names(["MEL", "No Finding"])
    with pytest.raises(DataError, match="class names"):
        check_class_names(["MEL", name])
