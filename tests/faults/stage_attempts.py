"""A stage's command over one root, attempt by attempt and step by step, on disks that fail."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pyarrow as pa

from tests.faults.failing_disk import FailingDisk, Killed
from vapray.errors import LeaseHeldError
from vapray.runtime.row_map import MapWorker, receipt_of
from vapray.runtime.work_plan import WorkPlan
from vapray.store.lease import Lease
from vapray.store.run_store import Store
from vapray.store.tables import REJECT, TABLES, build_part
from vapray.store.version import Manifest, Version

SOURCE = [f"image-{number}" for number in range(7)]
REJECTED = {"image-2", "image-5"}
SEEN: Counter[str] = Counter()


@dataclass(frozen=True)
class Mark:
    """The map of the stage; its rows say which attempt made them, as a language model's would."""

    attempt: int = 0

    def __call__(self, rows: pa.Table) -> pa.Table:
        keys = rows.column("image_id").to_pylist()
        done = [{"image_id": key, "class": f"attempt {self.attempt}"} for key in keys if key not in REJECTED]
        return build_part(TABLES["images"], done, {key: f"{key} is bad" for key in keys if key in REJECTED})


@dataclass
class Machine:
    """A root that every attempt shares, and a clock that can be moved past a lease."""

    root: Path
    now: float = 1_000_000.0
    numbers: Iterator[int] = field(default_factory=count)

    def source(self) -> Version:
        version = Store(str(self.root)).version("ingest_plan", "v")
        for names in (SOURCE[:4], SOURCE[4:]):
            version.write_part(build_part(TABLES["ingest_plan"], [{"image_id": name} for name in names]))
        return version

    def output(self) -> Version:
        return Store(str(self.root)).version("images", "v")


class Attempt:
    """One start of the stage's command, step by step, on a disk of its own."""

    def __init__(self, machine: Machine, batch_rows: int, disk: FailingDisk, *, marked: bool = False) -> None:
        self.machine, self.batch_rows, self.disk, self.marked = machine, batch_rows, disk, marked
        self.number = next(machine.numbers)
        self.lease: Lease | None = None
        self.left: list[tuple[MapWorker, dict]] = []
        self.steps = self._run()
        self.outcome, self.is_about_to_seal = "", False
        self.manifest: Manifest | None = None

    def step(self) -> bool:
        """One step; False once it has ended."""
        if self.outcome:
            return False
        try:
            with self.disk.installed():
                next(self.steps)
        except StopIteration:
            self.outcome = self.outcome or "finished"
        except Killed:
            self.outcome = "killed"
        except LeaseHeldError:
            self.outcome = "refused"
        if self.outcome:
            SEEN[self.outcome] += 1
            self._end_heart()
        return not self.outcome

    def run(self) -> "Attempt":
        while self.step():
            pass
        return self

    def finish_late(self) -> None:
        """Workers that outlived their driver write what they had been given."""
        for worker, batch in self.left:
            SEEN["late parts"] += 1
            worker(batch)

    def _run(self) -> Iterator[None]:
        output, lease = (
            self.machine.output(),
            Lease(self.machine.output().files, "images/v", clock=lambda: self.machine.now),
        )
        self.lease = lease
        lease.__enter__()
        yield
        if output.manifest() is None:
            yield from self._work(output)
            if not lease.is_held():
                raise LeaseHeldError("another run took over")
            self.is_about_to_seal = True
            yield
            self.manifest = output.seal(
                stage="ingest", sections={}, inputs={}, seconds=1.0, versions={}, notes={"attempt": self.number}
            )
            yield
        lease.__exit__(None, None, None)

    def _work(self, output: Version) -> Iterator[None]:
        output.adopt_parts(lambda line: SEEN.update(["parts mended"]))
        SEEN["receipts read"] += len(output.receipts.spans)
        source = self.machine.source()
        yield
        mark = Mark(self.number if self.marked else 0)
        worker = MapWorker(lambda: mark, source, output, ["image_id"])
        plan, _ = WorkPlan.of(source, output.receipts.spans, self.batch_rows, None)
        self.left = [(worker, {"stretch": [stretch]}) for stretch in plan.stretches(1)]
        yield
        while self.left:
            (receipt,) = worker(self.left[0][1])["receipt"]
            self.left.pop(0)
            yield
            output.receipts.add([receipt_of(receipt)])
            if len(self.left) % 2:
                output.receipts.flush()
                yield

    def _end_heart(self) -> None:
        if self.lease and self.lease._heart.is_alive():
            self.lease._stop.set()
            self.lease._heart.join()


def finish(machine: Machine) -> Manifest:
    """The identical command until it ends."""
    machine.now += 61
    attempt = Attempt(machine, 3, FailingDisk()).run()
    assert attempt.outcome == "finished"
    return machine.output().require_manifest()


def assert_each_key_once(machine: Machine, *, marked: bool = False) -> None:
    version = machine.output()
    table, manifest = version.read(rejects=True), version.require_manifest()
    assert table.column("image_id").to_pylist() == SOURCE
    reasons = dict(zip(SOURCE, table.column(REJECT).to_pylist(), strict=True))
    assert reasons == {key: f"{key} is bad" if key in REJECTED else None for key in SOURCE}
    if not marked:
        assert table.equals(Mark()(pa.table({"image_id": SOURCE})).sort_by("image_id"))
    assert (manifest.rows, manifest.rejects) == (len(SOURCE) - len(REJECTED), len(REJECTED))
    assert sum(part.rows + part.rejects for part in manifest.parts) == len(SOURCE)
    in_parts = [key for name in version.part_names() for key in version.read_part(name)["image_id"].to_pylist()]
    assert sorted(in_parts) == SOURCE
