"""Where a run lives, on which Ray, and how many actors work at a stage."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from vapray.config.section import Count, Positive, Quantity, Section, Share

__all__ = ["Cluster", "Pool", "Pools", "Run"]


class Run(Section):
    """Where a run lives and what makes it repeatable."""

    root: str = "runs/demo"
    """Folder or URI that holds every table, checkpoint and report of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seeds everything that is drawn: phantoms, wording, weights, noise, samples."""
    max_bad_fraction: Share = 0.01
    """A stage fails when more than this share of the rows it was asked for is rejected."""


class Cluster(Section):
    """Which Ray to use."""

    address: str | None = None
    """None: start an embedded Ray; "auto" or host:port: join a running cluster."""
    num_cpus: Count | None = None
    """Logical CPUs of the embedded Ray; None: max(4, cores), so that no actor pool can starve a reader."""
    object_store_mb: Annotated[int, Field(ge=80)] = 256
    """Shared memory of the embedded Ray."""
    shared_filesystem: bool = False
    """Say true when ``run.root`` is a local path that every node of a multi-node cluster mounts."""


class Pool(Section):
    """An actor pool of Ray Data."""

    min_size: Count = 1
    """Actors at the start."""
    max_size: Count = 2
    """Actors at the most; the pool grows while work waits."""
    num_cpus: Positive = 0.5
    """Logical CPUs an actor reserves; fractions keep a laptop from starving."""
    num_gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs an actor reserves."""
    resources: dict[str, Quantity] = Field(default_factory=dict)
    """Custom resources an actor reserves, such as {caption: 1}: it runs only where nodes were started with them."""
    batch_rows: Count = 128
    """Rows of one unit of work, which is also one committed part."""
    overlap: Count = 1
    """Units of work that an actor has under way at once; 2 or more keep an engine busy while a part is committed."""

    @property
    def device(self) -> str:
        """Of torch, in its actors."""
        return "cuda" if self.num_gpus else "cpu"

    @property
    def bundle(self) -> dict[str, float]:
        """What an actor reserves, by Ray's names."""
        return {"CPU": self.num_cpus, **({"GPU": self.num_gpus} if self.num_gpus else {}), **self.resources}


class Pools(Section):
    """One pool for each stage that maps rows."""

    ingest: Pool = Pool(batch_rows=512)
    caption: Pool = Pool(batch_rows=64, min_size=2)
    bank: Pool = Pool(batch_rows=512, max_size=1)
    autoencoder: Pool = Pool(max_size=1, num_cpus=2)
    encode: Pool = Pool(batch_rows=256, max_size=1)
    sample: Pool = Pool(batch_rows=128, min_size=2)
    evaluate: Pool = Pool(batch_rows=256, min_size=2)
    downstream: Pool = Pool(batch_rows=1, min_size=2, num_cpus=1)

    @model_validator(mode="before")
    @classmethod
    def _keep_what_is_not_named(cls, given: Any) -> Any:
        """A pool of which only some keys are given keeps its own defaults, not those of any pool."""
        if not isinstance(given, dict):
            return given
        own = {name: field.default for name, field in cls.model_fields.items()}
        return {
            name: _filled(pool, own[name]) if name in own and isinstance(pool, dict) else pool
            for name, pool in given.items()
        }


def _filled(given: dict[str, Any], own: Pool) -> dict[str, Any]:
    most = given.get("max_size")
    least = min(own.min_size, most) if isinstance(most, int) and most > 0 else own.min_size
    return {**own.model_dump(), "min_size": least, **given}
