"""The kill storm: SIGKILL actors, workers and drivers of real stages at random moments, then look for what was lost.

    python -m tests.faults.storm --sequences 200 --seed 0 [--stages caption,bank] [--work DIR]

One sequence copies a finished run up to one stage, starts that stage's command, and strikes one to four times: a worker
process, all of them at once, or the driver, after which the identical command is started again. In the end the sealed
table has to equal the one that nothing disturbed. A sequence in which no blow hit an unfinished stage is drawn anew.
"""

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.stricken_stage import Blow, Outcome, Scene, Strikes, scene_of, strike_stage

__all__ = ["draw", "storm", "summary", "totals"]

TABLE_STAGES = ("ingest", "caption", "bank", "encode", "sample", "evaluate")
FITTED_STAGES = ("autoencoder", "train")  # they take longest: one sequence for three of each other
TURNS = (*TABLE_STAGES, "autoencoder", *TABLE_STAGES, "train", *TABLE_STAGES)
EMBEDDED_SHARE = 0.15


def draw(stage: str, number: int, seed: int) -> Strikes:
    """The sequence of this number; the same for the same seed."""
    dice = random.Random(f"{seed} {stage} {number}")
    has_parts = stage in TABLE_STAGES
    # A task that is not one of many gives up after its third death on purpose.
    targets = dice.choices(("worker", "workers", "driver"), (4, 2, 4), k=dice.randint(1, 4 if has_parts else 2))
    moments = sorted(0.95 * dice.random() for _ in targets)
    blows = tuple(Blow(target, moment, dice.random() < 0.3) for target, moment in zip(targets, moments, strict=True))
    late = dice.randrange(1000) if has_parts and dice.random() < 0.5 else None
    return Strikes(stage, blows, dice.random() < EMBEDDED_SHARE, late)


def storm(scene: Scene, stages: Sequence[str], count: int, seed: int) -> Iterator[Outcome]:
    """So many sequences over the stages in turn, each with a blow that hit."""
    turns = itertools.cycle([stage for stage in TURNS if stage in stages])
    for number, stage in zip(range(count), turns, strict=False):
        for again in range(5):
            began, strikes = time.monotonic(), draw(stage, number + again * count, seed)
            outcome = strike_stage(scene, strikes)
            print(_line(number, strikes, outcome, time.monotonic() - began), flush=True)
            if outcome.is_bad or sum(outcome.hits.values()):
                break
        yield outcome


def totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Sums over sequences."""
    hits = [outcome.hits for outcome in outcomes]
    differences = [outcome.difference for outcome in outcomes if outcome.difference]
    return {
        "sequences": len(outcomes),
        "struck": sum(any(hit.values()) for hit in hits),
        "worker kills": sum(hit["worker"] for hit in hits),
        "kills of all workers": sum(hit["workers"] for hit in hits),
        "driver kills": sum(hit["driver"] for hit in hits),
        "restarts": sum(outcome.restarts for outcome in outcomes),
        "zombies": sum(outcome.zombies for outcome in outcomes),
        "orphans": sum(len(outcome.orphans) for outcome in outcomes),
        "lost": sum(found.lost for found in differences),
        "duplicated": sum(found.duplicated for found in differences),
        "differing": sum(len(found.differing) for found in differences),
        "ended badly": sum(bool(outcome.problem) for outcome in outcomes),
    }


def summary(outcomes: Sequence[Outcome]) -> str:
    """A line for each stage."""
    stages = dict.fromkeys(outcome.stage for outcome in outcomes)
    rows = {stage: totals([outcome for outcome in outcomes if outcome.stage == stage]) for stage in stages}
    names = list(totals(()))
    lines = ["stage        " + "  ".join(names)]
    for stage, row in rows.items():
        lines.append(f"{stage:<12} " + "  ".join(f"{row[name]:>{len(name)}}" for name in names))
    return "\n".join(lines)


def _line(number: int, strikes: Strikes, outcome: Outcome, seconds: float) -> str:
    blows = " ".join(f"{blow.target}@{blow.moment:.2f}{'t' if blow.by_time else ''}" for blow in strikes.blows)
    ray = "own Ray" if strikes.embedded else "cluster"
    hits = " ".join(f"{target}:{count}" for target, count in outcome.hits.items() if count)
    verdict = f"WRONG {outcome.difference} {outcome.orphans} {outcome.problem}" if outcome.is_bad else "equal"
    return f"{number:4} {strikes.stage:<12} {ray} {seconds:5.1f} s  {blows}  hit {hits or 'nothing'}  {verdict}"


def main() -> int:
    """Run the command line; 1 if something was lost, or if the blows did not show anything."""
    parser = argparse.ArgumentParser(description="Kill actors, workers and drivers; compare with an unbroken run.")
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", default=",".join((*TABLE_STAGES, *FITTED_STAGES)))
    parser.add_argument("--work", type=Path, default=None, help="keeps the unbroken run for the next storm")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="vapray-storm-"))
    work.mkdir(parents=True, exist_ok=True)
    with scene_of(work.absolute()) as scene:
        outcomes = list(storm(scene, options.stages.split(","), options.sequences, options.seed))
    print(summary(outcomes))
    print(json.dumps(totals(outcomes)))
    return int(any(outcome.is_bad or not any(outcome.hits.values()) for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
