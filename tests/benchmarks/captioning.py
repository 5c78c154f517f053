"""What two turns on one engine save against three independent calls, and whether the engine ever waits.

    python -m tests.benchmarks.captioning [--images 32] [--side 448] [--repetitions 3] [--answers sentence|markdown]

Both ways ask the same engine the same questions about pictures that it has not seen. The naive way asks each of the
three steps as a call of its own: the knowledge anew for every image, the picture twice, nothing kept between calls. The
ways take turns, and medians are taken. Ours goes through what an actor runs, several parts at a time, commits included.
The impression is one sentence, or several lines of Markdown. The second turn finds the latter in the prefix cache only
if the conversation has it as the model wrote it.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.benchmarks.table import report
from tests.captioning.conftest import ENGINE
from tests.captioning.tiny_vlm import COLOURS, build_tiny_vlm, impression, impression_in_markdown
from vapray.captioning.chat import ChatCompletion, DecodingParams, Messages
from vapray.captioning.factory import build_captioner
from vapray.captioning.prompt_set import PromptSet, load_prompt_set
from vapray.captioning.stage import CaptionImages
from vapray.captioning.vaps import VapsCaptioner
from vapray.captioning.vllm_chat import VllmChat
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.data.image_loading import load_square_images
from vapray.runtime.row_map import MapWorker
from vapray.runtime.work_plan import WorkPlan
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part

PART = 8
MAX_TOKENS = 128
IMPRESSIONS = {"sentence": impression, "markdown": impression_in_markdown}


class Watched:
    """A ``ChatModel`` that notes tokens, and how long nobody asked it anything."""

    def __init__(self, model: VllmChat) -> None:
        self._model = model
        self.name, self.revision, self.concurrency = model.name, model.revision, model.concurrency
        self.reset()

    def reset(self) -> None:
        """Start counting."""
        self.answers: list[ChatCompletion] = []
        self.moments: list[tuple[float, int]] = []

    async def complete(
        self, turns: Messages, image: NDArray[np.uint8] | None, decoding: DecodingParams
    ) -> ChatCompletion:
        """As the model's."""
        self.moments.append((time.perf_counter(), 1))
        try:
            answer = await self._model.complete(turns, image, decoding)
        finally:
            self.moments.append((time.perf_counter(), -1))
        self.answers.append(answer)
        return answer

    def idle_share(self) -> float:
        """Of the time from the first question to the last answer, how much had no question open."""
        open_now, idle, before = 0, 0.0, self.moments[0][0]
        for moment, change in self.moments:
            idle += (moment - before) * (open_now == 0)
            open_now, before = open_now + change, moment
        return idle / (before - self.moments[0][0])

    def hit_rate(self) -> float:
        """Of all prompt tokens, how many the prefix cache spared."""
        return sum(one.cached_tokens for one in self.answers) / sum(one.prompt_tokens for one in self.answers)

    def computed_tokens(self) -> int:
        """Prompt tokens that no cache spared."""
        return sum(answer.prompt_tokens - answer.cached_tokens for answer in self.answers)


def draw(folder: Path, count: int, side: int, seeds: itertools.count) -> list[Path]:
    """Pictures that nobody has seen before."""
    paths = []
    for colour in itertools.islice(itertools.cycle(COLOURS.values()), count):
        noise = np.random.default_rng(next(seeds)).normal(0, 6, (side, side, 3))
        paths.append(folder / f"{next(seeds)}.png")
        Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def ours(config: Config, captioner: VapsCaptioner, paths: Sequence[Path], folder: Path) -> float:
    """Seconds for all pictures, as an actor with several parts under way takes them."""
    store = Store(str(folder))
    source, output = store.version("images", "a"), store.version("captions", "b")
    rows = [{"image_id": path.stem, "path": str(path), "sha256": path.stem, "text": ""} for path in paths]
    source.write_part(build_part(TABLES["images"], rows))
    columns = ["image_id", "label", "split", "group", "path", "text", "sha256"]
    worker = MapWorker(lambda: CaptionImages(config, captioner), source, output, columns)
    plan, _ = WorkPlan.of(source, output.receipts.spans, PART, None)
    stretches = plan.stretches(len(plan))
    began = time.perf_counter()
    with ThreadPoolExecutor(config.pools.caption.max_concurrency) as threads:
        receipts = list(threads.map(lambda stretch: worker({"stretch": [stretch]}), stretches))
    assert all(receipt["status"] == ["done"] for receipt in receipts)
    return time.perf_counter() - began


class Forgetful(VllmChat):
    """The same engine without memory: every call has a cache of its own."""

    @classmethod
    def sharing(cls, model: VllmChat) -> "Forgetful":
        """Another way to ask this model."""
        twin = cls.__new__(cls)
        twin.__dict__ |= vars(model)
        return twin

    def _prompt(self, turns: Messages, image: NDArray[np.uint8] | None) -> dict[str, Any]:
        return super()._prompt(turns, image) | {"cache_salt": str(uuid.uuid4())}


async def naive(model: Watched, prompts: PromptSet, paths: Sequence[Path], side: int) -> float:
    """Seconds for all pictures, three independent calls each."""
    slots, questions = asyncio.Semaphore(model.concurrency), prompts.questions

    async def ask(text: str, image: NDArray[np.uint8] | None) -> str:
        return (await model.complete((text,), image, DecodingParams(0, max_tokens=MAX_TOKENS))).text

    async def one(path: Path) -> None:
        async with slots:
            image = load_square_images([str(path)], side)[0][0]
            t1 = await ask(questions.impression, image)
            t2 = await ask(questions.knowledge, None)
            await ask(f"{t1}\n\n{t2}\n\n{questions.reasoning}", image)

    began = time.perf_counter()
    await asyncio.gather(*map(one, paths))
    return time.perf_counter() - began


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--answers", choices=IMPRESSIONS, default="sentence")
    asked = parser.parse_args()
    os.environ.update(HF_HUB_OFFLINE="1", VLLM_CPU_KVCACHE_SPACE="1")
    with tempfile.TemporaryDirectory() as scratch:
        _measure(asked, Path(scratch))


def _measure(asked: argparse.Namespace, folder: Path) -> None:
    model = build_tiny_vlm(folder / "model", 440, asked.side, IMPRESSIONS[asked.answers])
    limits = [f"caption.max_tokens={MAX_TOKENS}", f"caption.knowledge_max_tokens={MAX_TOKENS}", "caption.retries=0"]
    settings = ["caption.captioner=vllm", f"caption.model={model}", *limits]
    config = load_config(
        None, [*settings, f"caption.image_size={asked.side}", "pools.caption.max_concurrency=3", *ENGINE]
    )
    captioner = build_captioner(config)
    assert isinstance(captioner, VapsCaptioner)
    engine = captioner.model
    assert isinstance(engine, VllmChat)
    two_turns, three_calls = Watched(engine), Watched(Forgetful.sharing(engine))
    captioner.model = two_turns
    prompts, seeds = load_prompt_set("dermoscopy"), itertools.count()
    both_turns = 2 * asked.images
    rounds: list[dict[str, float]] = []
    for number in range(1 + asked.repetitions):  # the first warms up
        two_turns.reset()
        three_calls.reset()
        ours_seconds = ours(config, captioner, draw(folder, asked.images, asked.side, seeds), folder / str(number))
        assert len(two_turns.answers) == both_turns, "an image without its second turn"
        fresh = draw(folder, asked.images, asked.side, seeds)
        naive_seconds = captioner.loop.run(naive(three_calls, prompts, fresh, asked.side))
        rounds.append(
            {
                "prompt_tokens_vs_naive": two_turns.computed_tokens() / three_calls.computed_tokens(),
                "wall_vs_naive": ours_seconds / naive_seconds,
                "engine_idle_share": two_turns.idle_share(),
                "prefix_cache_hit_rate": two_turns.hit_rate(),
                "images_per_second": asked.images / ours_seconds,
            }
        )
    engine.close()
    found = {name: statistics.median(one[name] for one in rounds[1:]) for name in rounds[0]}
    config_of_run = vars(asked) | {"device": "cpu", "model": "tiny Qwen2.5-VL", "concurrency": engine.concurrency}
    ratios = {name: found.pop(name) for name in ("prompt_tokens_vs_naive", "wall_vs_naive")}
    report("captioning", config_of_run, ratios, found)


if __name__ == "__main__":
    main()
