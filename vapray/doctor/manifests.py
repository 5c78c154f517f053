"""Whether manifests can be applied and would hold: ``vapray doctor --manifests cluster/``.

Beside the schema of KubeRay's custom resources, which the API server checks: what stands in free text, what several
files have to agree on, and what the operator would refuse only when it is too late.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vapray.doctor import pod_manifests as pods
from vapray.doctor import ray_manifests as ray
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.doctor.manifest_files import Manifest, read_manifests
from vapray.doctor.offers import unmet_demands
from vapray.doctor.ray_fields import unknown_fields
from vapray.errors import ConfigError

__all__ = ["examine"]


@dataclass(frozen=True)
class Check:
    """One question to all manifests.

    Attributes:
        name: what is looked at.
        problems: where and what is wrong, one text each.
        advice: what to do about any of them.
        serious: whether the manifests must not be applied so.
    """

    name: str
    problems: Callable[[Sequence[Manifest]], Iterator[str]]
    advice: str
    serious: bool = True

    def findings(self, manifests: Sequence[Manifest]) -> Iterator[Finding]:
        """One for each problem, or one that there is none."""
        problems = list(self.problems(manifests))
        for problem in problems:
            if self.serious:
                yield failed(self.name, problem, self.advice, ConfigError.exit_code)
            else:
                yield warning(self.name, problem, self.advice)
        if not problems:
            yield ok(self.name, "nothing wrong")


CHECKS = (
    Check("fields", unknown_fields, "Mend it: the API server refuses the object, or drops the field without a word."),
    Check("ray version", ray.different_versions, "Name in rayVersion the Ray of the image and of constraints.txt."),
    Check("ray image", ray.different_images, "All Ray processes need one Ray and one Python: use one image."),
    Check("image tags", pods.loose_tags, "Name a version: what latest means changes under a running cluster."),
    Check("resources", pods.missing_resources, "Ray reads from them what a node has; pods without are evicted first."),
    Check("authentication", ray.missing_tokens, "Who reaches Ray without a token may run code there: ask for one."),
    Check(
        "host paths", pods.host_paths, "Use a claim or an object store: a host's folder is on one node, and its own."
    ),
    Check("volumes", pods.volumes_of_one_node, "Use ReadWriteMany: pods on other nodes would wait for ever."),
    Check("serve config", ray.unsound_services, "Mend it: Serve itself passes over keys that it does not know."),
    Check("root", pods.root_containers, "Set runAsNonRoot: true and allowPrivilegeEscalation: false."),
    Check("offers", unmet_demands, "Add it to resources of a group, raise maxReplicas, or ask for less in entrypoint."),
    Check("jobs", ray.refused_jobs, "The API server takes that, and KubeRay's operator refuses it."),
    Check("hardening", pods.writable_containers, "Set readOnlyRootFilesystem: true, capabilities.drop: [ALL].", False),
    Check("feature gates", ray.alpha_features, "Enable it: it is alpha, and off in KubeRay 1.7 by default.", False),
    Check("head", ray.working_heads, 'Set rayStartParams.num-cpus: "0" for the head.', False),
    Check("network", pods.open_networks, "Add a NetworkPolicy, such as cluster/base/network-policy.yaml.", False),
)


def examine(path: str) -> Iterator[Finding]:
    """Check after check, over a folder or over one file such as ``kubectl kustomize`` prints."""
    try:
        manifests = read_manifests(path)
    except ConfigError as error:
        yield failed("manifests", str(error), "Nothing else can be checked before.", error.exit_code)
        return
    files, clusters = len({manifest.file for manifest in manifests}), len(ray.ray_specs(manifests))
    yield ok("manifests", f"{len(manifests)} objects in {files} files; {clusters} describe Ray clusters")
    for check in CHECKS:
        yield from check.findings(manifests)
