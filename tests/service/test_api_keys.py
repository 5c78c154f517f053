"""Keys of the service's API."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vapray.cli.app import app
from vapray.errors import ConfigError
from vapray.service.api_keys import add_key, hash_key, key_that_matches, make_key, read_keys


@pytest.fixture
def file(tmp_path) -> str:
    return str(tmp_path / "keys.yaml")


def test_keys_are_256_random_bits_and_never_the_same():
    keys = {make_key() for _ in range(50)}
    assert len(keys) == 50 and {len(key) for key in keys} == {len("vr_") + 43}


def test_the_file_has_hashes_and_no_key_and_is_its_owners_alone(file):
    keys = [add_key(file, "ward-7", ["images", "bank"], 60), add_key(file, "lab", ["metrics"])]
    text = Path(file).read_text()
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert not [key for key in keys if key in text or key[3:] in text]
    assert all(hashlib.sha256(key.encode()).hexdigest() in text for key in keys)
    assert [(key.id, key.scopes, key.images_per_minute) for key in read_keys(file)] == [
        ("ward-7", ("images", "bank"), 60),
        ("lab", ("metrics",), None),
    ]
    assert os.listdir(os.path.dirname(file)) == ["keys.yaml"]


def test_a_key_is_found_by_itself_alone(file):
    first, second = add_key(file, "first", ["images"]), add_key(file, "second", ["images"])
    known = read_keys(file)
    assert [key_that_matches(known, key).id for key in (first, second)] == ["first", "second"]
    for other in (make_key(), first[:-1], first + " ", hash_key(first), ""):
        assert key_that_matches(known, other) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "top level: expected keys"),
        ("keys: []", "keys: expected a list of at least 1"),
        ("- id: a", "top level: expected keys"),
        ("keys:\n- {id: a, sha256: b, scopes: [images]}", "keys.0.sha256: expected text"),
        ("keys:\n- {id: a, sha256: !!str b, scopes: [images]}", "the tag !!str is not accepted"),
        ("keys:\n- {id: a b, sha256: HASH, scopes: [images]}", "keys.0.id = 'a b': expected text"),
        (
            "keys:\n- {id: a, sha256: HASH, scopes: [image]}",
            "keys.0.scopes = ['image']: expected a list of at least 1",
        ),
        ("keys:\n- {id: a, sha256: HASH, scopes: []}", "keys.0.scopes = []: expected a list of at least 1"),
        ("keys:\n- {id: a, sha256: HASH, scopes: [images], images_per_minute: 0}", "keys.0.images_per_minute"),
        ("keys:\n- {id: a, sha256: HASH, scopes: [images], rate: 1}", "unknown key keys.0.rate"),
        ("keys:\n- {id: a, sha256: HASH, scopes: [images]}\n- {id: a, sha256: HASH0, scopes: [bank]}", "duplicate"),
        ("keys: &a\n- *a", "anchors and aliases"),
        ("keys: [HASH]", "keys.0: expected keys below it"),
        ("keys: HASH", "keys: expected a list of at least 1"),
        ("keys:\n- {id: a, sha265: HASH, scopes: [images]}", "unknown key keys.0.sha265. Did you mean sha256?"),
    ],
)
def test_a_file_of_anything_else_is_refused(file, text, said):
    digest = "ab" * 32
    Path(file).write_text(text.replace("HASH0", "cd" * 32).replace("HASH", digest))
    with pytest.raises(ConfigError) as refused:
        read_keys(file)
    assert said in str(refused.value) and file in str(refused.value) and digest not in str(refused.value)


def test_a_file_that_is_not_text_is_refused(file, tmp_path):
    (tmp_path / "keys.yaml").write_bytes(b"\xff")
    for path, said in ((file, "not UTF-8 at byte 0"), (str(tmp_path), "cannot be read"), ("none.yaml", "no such file")):
        with pytest.raises(ConfigError, match=said):
            read_keys(path)


@pytest.mark.parametrize(
    ("name", "scopes", "rate"), [("a", ["images"], None), ("b c", ["images"], None), ("b", ["all"], None), ("b", [], 0)]
)
def test_a_key_that_cannot_be_added_leaves_the_file_as_it_is(file, name, scopes, rate):
    add_key(file, "a", ["images"])
    before = Path(file).read_text()
    with pytest.raises(ConfigError):
        add_key(file, name, scopes, rate)
    assert Path(file).read_text() == before


def test_two_that_add_keys_at_once_do_not_lose_one(file):
    Path(f"{file}.new").touch()
    with pytest.raises(ConfigError, match=r"another command is adding a key"):
        add_key(file, "a", ["images"])
    assert not os.path.exists(file)


def test_the_command_shows_the_key_once(file):
    done = CliRunner().invoke(app, ["create-key", "ward-7", "--scope", "images", "--scope", "metrics", "--file", file])
    assert done.exit_code == 0, done.output
    (found,) = read_keys(file)
    assert key_that_matches([found], done.stdout.strip()) == found
    assert found.scopes == ("images", "metrics")
    again = CliRunner().invoke(app, ["create-key", "ward-7", "--file", file])
    assert again.exit_code == 2 and "no key was created: duplicate id ward-7." in again.output
    wrong = CliRunner().invoke(app, ["create-key", "b c", "--scope", "all", "--images-per-minute", "0", "--file", file])
    assert wrong.exit_code == 2 and all(f"{name} = " in wrong.output for name in ("id", "scopes", "images_per_minute"))
