"""What every store of files promises: a local disk, memory, and an S3 server."""

import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import ROOT
from vapray.store.files import FileStore

NAMES = ["x", "a/b.bin", "a/Größe 50%+é/=&#.png", "a/b c/d.json"]


@pytest.mark.parametrize("name", NAMES)
def test_what_was_written_is_read(open_store, name):
    for data in (b"", b"\x00\x01", os.urandom(300_000)):
        open_store().write(name, data)
        assert open_store().read(name) == data


def test_what_is_not_there_is_none_and_has_no_names(open_store):
    files = open_store()
    assert files.read("gone") is None
    assert files.names("gone") == []
    files.remove("gone")
    with pytest.raises(FileNotFoundError):
        files.open("gone")


def test_names_are_of_files_and_folders_directly_below(open_store):
    files = open_store()
    for name in NAMES:
        files.write(name, b"1")
    assert files.names("") == ["a", "x"]
    assert files.names("a") == ["Größe 50%+é", "b c", "b.bin"]


def test_an_object_that_stands_for_a_folder_is_no_name_in_it(files):
    bucket, key = files.path("a/").split("/", 1)
    files.filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=b"")
    assert files.names("a") == []
    files.write("a/1", b"")
    assert files.names("a") == ["1"]
    assert files.names("") == ["a"]


def test_a_listing_is_of_now(open_store):
    mine, other = open_store(), open_store()
    assert mine.names("a") == []
    other.write("a/1", b"")
    assert mine.names("a") == ["1"]
    other.remove("a/1")
    assert mine.names("a") == []


def test_a_folder_is_removed_with_all_it_holds_and_nothing_else(open_store):
    files = open_store()
    for name in ("a/1", "a/2/3", "ab"):
        files.write(name, b"1")
    files.remove("a")
    assert files.names("") == ["ab"]
    files.remove("ab")
    assert files.names("") == []


def test_a_file_is_created_once(open_store):
    assert open_store().create_exclusive("x", b"same")
    assert not open_store().create_exclusive("x", b"same")
    assert not open_store().create_exclusive("x", b"other")
    assert open_store().read("x") == b"same"


@pytest.mark.parametrize("size", [10_000, 5_000_000])
def test_ranges_are_read_like_those_of_a_file(open_store, size):
    data = os.urandom(size)
    open_store().write("x", data)
    with open_store().open("x") as file:
        file.seek(-100, io.SEEK_END)
        assert file.read() == data[-100:]
        assert file.read(5) == b""
        file.seek(70)
        assert file.read(30) == data[70:100]
        assert file.tell() == 100


@pytest.mark.parametrize("open_store", ["local", "s3"], indirect=True)
def test_of_eight_creators_one_wins(open_store):
    stores = [open_store() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for round_number in range(5):
            name = f"a/{round_number}"
            won = list(
                pool.map(
                    lambda number, name=name: stores[number].create_exclusive(name, str(number).encode()), range(8)
                )
            )
            assert sum(won) == 1
            assert stores[0].read(name) == str(won.index(True)).encode()


def test_of_many_processes_one_creates(files):
    program = (
        "import sys\nfrom vapray.store.files import FileStore\nfiles = FileStore(sys.argv[1])\nfiles.names('')\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        "print(files.create_exclusive('x', sys.argv[2].encode()), flush=True)\n"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, files.root, str(number)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    assert [run.stdout.readline() for run in runs] == ["ready\n"] * 3
    answers = [run.communicate("\n")[0].strip() for run in runs]
    assert sorted(answers) == ["False", "False", "True"]
    assert files.read("x") == str(answers.index("True")).encode()


@pytest.mark.parametrize("open_store", ["local", "s3"], indirect=True)
def test_a_pickled_store_opens_the_same_folder_in_another_process(open_store, tmp_path):
    files = open_store()
    files.write("x", b"from here")
    program = (
        "import pickle, sys\nfiles = pickle.load(sys.stdin.buffer)\n"
        "assert files.read('x') == b'from here'\nfiles.write('y', b'from there')\n"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(files),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert files.read("y") == b"from there"
    assert isinstance(pickle.loads(pickle.dumps(files)), FileStore)
