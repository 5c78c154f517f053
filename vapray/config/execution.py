"""Settings of the run folder, the Ray cluster and the actor pools."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from vapray.config.section import ConfigSection, PathText, PositiveFloat, PositiveInt, Quantity, UnitInterval

__all__ = ["Cluster", "Pool", "Pools", "Run"]


class Run(ConfigSection):
    """Location of a run, its seed and its limit of rejects."""

    root: PathText = "runs/demo"
    """Folder or URI of all tables, checkpoints and reports of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of all random draws: phantoms, wording, weights, noise, samples. 0 to 2^63 - 1."""
    max_reject_fraction: UnitInterval = 0.01
    """Maximum share of rejected rows, 0 to 1; a stage fails above it."""


class Cluster(ConfigSection):
    """Settings of the Ray cluster."""

    address: str | None = None
    """Address of the cluster. None: start an embedded Ray; "auto" or host:port: join a running cluster."""
    num_cpus: PositiveInt | None = None
    """Number of logical CPUs of the embedded Ray; None: max(4, cores), so that actor pools leave CPUs for readers."""
    object_store_mb: Annotated[int, Field(ge=80)] = 256
    """Shared memory of the embedded Ray, in MB, at least 80."""
    shared_filesystem: bool = False
    """Declare that every node of a multi-node cluster mounts ``run.root``; needed where it is a local path."""


class Pool(ConfigSection):
    """Settings of an actor pool of Ray Data."""

    min_size: PositiveInt = 1
    """Number of actors at the start."""
    max_size: PositiveInt = 2
    """Maximum number of actors; the pool grows while work waits."""
    num_cpus: PositiveFloat = 0.5
    """Logical CPUs per actor; fractions are allowed."""
    num_gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs per actor; 0: run on CPU."""
    resources: dict[str, Quantity] = Field(default_factory=dict)
    """Custom resources per actor, such as {caption: 1}; the actor runs only on nodes that were started with them."""
    batch_rows: PositiveInt = 128
    """Number of rows of one unit of work, which is also one committed part."""
    max_concurrency: PositiveInt = 1
    """Number of concurrent units of work per actor; 2 or more keep an engine busy while a part is committed."""

    @property
    def device(self) -> str:
        """Torch device of the actors."""
        return "cuda" if self.num_gpus else "cpu"

    @property
    def bundle(self) -> dict[str, float]:
        """Resources that an actor reserves, by Ray's names."""
        return {"CPU": self.num_cpus, **({"GPU": self.num_gpus} if self.num_gpus else {}), **self.resources}


class Pools(ConfigSection):
    """Actor pools, one for each stage that maps rows."""

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
        """Fill the missing keys of a pool with that pool's own defaults, not with those of ``Pool``."""
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
