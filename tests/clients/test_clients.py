"""Programs for OpenAI's API work with another base URL and key: each runs as it is, against a running service."""

import base64
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.serve.running import Running, running_service
from vapray.sampling.sampler import Sampler
from vapray.service.api_keys import add_key

ENVIRONMENT = ROOT / "build" / "clients"
PYTHON = str(ENVIRONMENT / "bin" / "python")
PROGRAMS = {
    "openai_python.py": (PYTHON, 4),
    "openai_node.mjs": ("node", 4),
    "litellm_program.py": (PYTHON, 3),
    "langchain_program.py": (PYTHON, 3),
}
"""Interpreter and number of images of each program."""

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, small_checkpoint: Path) -> Iterator[tuple[Running, str]]:
    """A running service with keys, and a key."""
    folder = tmp_path_factory.mktemp("service")
    key = add_key(str(folder / "keys.yaml"), "ward", ["images"])
    aliases = {"aliases": ["dall-e-2", "dall-e-3", "gpt-image-1"]}
    with running_service(folder, small_checkpoint, api_keys_file=str(folder / "keys.yaml"), model=aliases) as running:
        yield running, key


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_for_openais_api_gets_the_images_of_the_sampler(
    service: tuple[Running, str], small_checkpoint: Path, program: str
) -> None:
    (running, key), (interpreter, count) = service, PROGRAMS[program]
    if not shutil.which(interpreter) or not ENVIRONMENT.exists():
        pytest.skip(f"{interpreter} is missing: run make test-clients, which installs the clients")
    address = dict.fromkeys(("OPENAI_BASE_URL", "OPENAI_API_BASE"), f"{running.base}/v1")
    done = subprocess.run(
        [interpreter, str(ENVIRONMENT / program)],
        env={**os.environ, **address, "OPENAI_API_KEY": key, "NO_PROXY": "127.0.0.1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["images"]) == count
    sampler = Sampler.load(str(small_checkpoint))
    for encoded in found["images"]:
        image = Image.open(io.BytesIO(base64.b64decode(encoded)))
        facts = image.text  # type: ignore[attr-defined]
        made = sampler.generate(facts["Class"], facts["Caption"], seed=int(facts["Seed"]))[0]
        assert image.tobytes() == made.pixels.tobytes()
    if "kinds" in found:
        assert found["kinds"] == [*2 * ["image_generation.partial_image"], "image_generation.completed"]
        assert found["models"] == ["demo"]
