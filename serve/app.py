"""Ray Serve application of the service (``import_path: serve.app:build``).

``vapray serve`` and ``serve deploy`` both come here.
"""

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import BackpressureConfig
from ray.serve.handle import DeploymentHandle

from serve.api.application import create_app
from serve.api.audit_log import log_to_stdout
from serve.deployments.autoscaling import by_pending_rows, by_requests
from serve.deployments.captioner import CaptionerReplica
from serve.deployments.deployment_health import DeploymentHealth, deployment_of
from serve.deployments.evaluator import EvaluatorReplica, has_reference
from serve.deployments.sampler import SamplerReplica
from serve.evaluations.evaluation_store import EvaluationStore
from serve.model_registry import ModelRegistry
from serve.serve_backend import DeploymentHandles, ServeBackend
from serve.settings import ModelSettings, ReplicaSettings, ServiceSettings, read_settings
from vapray.api_keys import read_keys
from vapray.sampling.opening import read_card

__all__ = ["build", "validate_args"]

HEALTH = {"health_check_period_s": 2, "health_check_timeout_s": 10}
MAX_ONGOING_REQUESTS = 4000
"""Requests that one ingress replica works on at once, and as many may wait; to the rest the proxy says 429."""


def build(args: dict[str, Any]) -> Application:
    """The application of these settings.

    Raises:
        ConfigError: every problem of the settings, in one error.
    """
    service = read_settings(args)
    samplers = {model.name: _sampler(model, service) for model in service.models}
    captioners = {model.name: _captioner(model, service) for model in service.models if service.captioner}
    return _ingress(service).bind(service, samplers, captioners, _evaluator(service, samplers))


def validate_args(args: dict[str, Any]) -> dict[str, float]:
    """What can be known before anything starts, from the machine that starts it.

    Returns:
        ``CPU`` and ``GPU`` of the largest replicas.

    Raises:
        ConfigError: settings, or a file of keys that cannot be read.
        CheckpointError: a checkpoint that cannot be read.
    """
    service = read_settings(args)
    if service.keys:
        read_keys(service.keys)
    for model in service.models:
        read_card(model.checkpoint)
    others = [part.replicas for part in (service.evaluator, service.captioner) if part]
    parts = [service.ingress, *others, *(model.replicas for model in service.models)]
    return {"CPU": max(part.num_cpus for part in parts), "GPU": max(part.num_gpus for part in parts)}


@serve.ingress()
class Ingress:
    """The HTTP side."""

    def __init__(
        self,
        service: ServiceSettings,
        samplers: dict[str, DeploymentHandle],
        captioners: dict[str, DeploymentHandle],
        evaluator: DeploymentHandle | None,
    ) -> None:
        self._service = service
        log_to_stdout()
        models_with_reference = [model.name for model in service.models if has_reference(model)]
        self._gateway = ServeBackend(
            ModelRegistry(service.models, service.limits.inference_steps, models_with_reference),
            DeploymentHandles(samplers, captioners, evaluator),
            EvaluationStore(service.state),
            DeploymentHealth(serve.get_replica_context().app_name),
        )

    def __serve_build_asgi_app__(self) -> Any:
        return create_app(self._gateway, self._service, add_request_id=False)


def _ingress(service: ServiceSettings) -> serve.Deployment:
    return serve.deployment(
        name="ingress",
        ray_actor_options=_actor(service.ingress),
        autoscaling_config=by_requests(service.ingress, each=64),
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        max_queued_requests=MAX_ONGOING_REQUESTS,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=2),
        **_drained(service),
    )(Ingress)


def _sampler(model: ModelSettings, service: ServiceSettings) -> Application:
    deployment = serve.deployment(
        name=deployment_of(model.name),
        ray_actor_options=_actor(model.replicas),
        autoscaling_config=by_pending_rows(model.replicas, model.target_pending_rows),
        max_ongoing_requests=model.max_waiting,
        max_queued_requests=model.max_waiting,
        **_drained(service),
    )(SamplerReplica)
    return deployment.bind(model)


def _evaluator(service: ServiceSettings, samplers: dict[str, Application]) -> Application | None:
    if service.evaluator is None:
        return None
    replicas = service.evaluator.replicas
    deployment = serve.deployment(
        name="evaluator",
        ray_actor_options=_actor(replicas),
        autoscaling_config=by_requests(replicas, each=2),
        max_ongoing_requests=100,
        max_queued_requests=100,
        **_drained(service),
    )(EvaluatorReplica)
    return deployment.bind(service, samplers)


def _captioner(model: ModelSettings, service: ServiceSettings) -> Application:
    assert service.captioner is not None
    replicas = service.captioner.replicas
    deployment = serve.deployment(
        name=f"captioner-{model.name}",
        ray_actor_options=_actor(replicas),
        autoscaling_config=by_requests(replicas, each=8),
        max_ongoing_requests=32,
        max_queued_requests=64,
        **_drained(service),
    )(CaptionerReplica)
    return deployment.bind(model.checkpoint)


def _drained(service: ServiceSettings) -> dict[str, Any]:
    """A replica that goes first answers what it has."""
    return HEALTH | {"graceful_shutdown_timeout_s": service.limits.deadline_seconds}


def _actor(replicas: ReplicaSettings) -> dict[str, Any]:
    return {"num_cpus": replicas.num_cpus, "num_gpus": replicas.num_gpus}
