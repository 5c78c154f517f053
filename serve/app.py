"""Ray Serve application of the service; a Serve config file names it as ``import_path: serve.app:build``.

``args`` of the application are ``serve.settings.ServiceSettings``.
"""

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig
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
from vapray.sampling.checkpoint_loading import read_metadata
from vapray.service.api_keys import read_keys

__all__ = ["build", "validate_args"]

MAX_ONGOING_REQUESTS = 4000
"""Requests in progress per ingress replica, and in its queue; beyond, Serve's proxy responds with 429."""


def build(args: dict[str, Any]) -> Application:
    """Build the application.

    Raises:
        ConfigError: All problems of the settings, in one error.
    """
    service = read_settings(args)
    samplers = {model.name: _sampler(model, service) for model in service.models}
    captioners = {model.name: _captioner(model, service) for model in service.models if service.captioner}
    return _ingress(service).bind(service, samplers, captioners, _evaluator(service, samplers))


def validate_args(args: dict[str, Any]) -> dict[str, float]:
    """Check settings, API keys and checkpoints before Ray starts.

    Returns:
        ``CPU`` and ``GPU`` of the largest replicas.

    Raises:
        ConfigError: Invalid settings, or an unreadable file of API keys.
        CheckpointError: An unreadable checkpoint.
    """
    service = read_settings(args)
    if service.api_keys_file:
        read_keys(service.api_keys_file)
    for model in service.models:
        read_metadata(model.checkpoint)
    optional = [part.replicas for part in (service.evaluator, service.captioner) if part]
    replicas = [service.ingress, *optional, *(model.replicas for model in service.models)]
    return {"CPU": max(one.num_cpus for one in replicas), "GPU": max(one.num_gpus for one in replicas)}


@serve.ingress()
class Ingress:
    """Deployment of the HTTP API."""

    def __init__(
        self,
        service: ServiceSettings,
        samplers: dict[str, DeploymentHandle],
        captioners: dict[str, DeploymentHandle],
        evaluator: DeploymentHandle | None,
    ) -> None:
        log_to_stdout()
        with_reference = [model.name for model in service.models if has_reference(model)]
        self._service = service
        self._backend = ServeBackend(
            ModelRegistry(service.models, service.limits.inference_steps, with_reference),
            DeploymentHandles(samplers, captioners, evaluator),
            EvaluationStore(service.state_dir, keep=service.evaluation_limits),
            DeploymentHealth(serve.get_replica_context().app_name),
        )

    def __serve_build_asgi_app__(self) -> Any:
        return create_app(self._backend, self._service, add_request_id=False)


def _ingress(service: ServiceSettings) -> serve.Deployment:
    scaling = by_requests(service.ingress, each=64)
    overload = BackpressureConfig(status_code=429, retry_after_s=2)
    deployment = _deployment(Ingress, "ingress", service, service.ingress, scaling, MAX_ONGOING_REQUESTS)
    return deployment.options(backpressure_config=overload)


def _sampler(model: ModelSettings, service: ServiceSettings) -> Application:
    scaling = by_pending_rows(model.replicas, model.target_pending_rows)
    name, ongoing = deployment_of(model.name), model.max_queued_requests
    return _deployment(SamplerReplica, name, service, model.replicas, scaling, ongoing).bind(model)


def _evaluator(service: ServiceSettings, samplers: dict[str, Application]) -> Application | None:
    if service.evaluator is None:
        return None
    scaling = by_requests(service.evaluator.replicas, each=2)
    deployment = _deployment(EvaluatorReplica, "evaluator", service, service.evaluator.replicas, scaling, 100)
    return deployment.bind(service, samplers)


def _captioner(model: ModelSettings, service: ServiceSettings) -> Application:
    assert service.captioner is not None
    scaling = by_requests(service.captioner.replicas, each=8)
    name = f"captioner-{model.name}"
    deployment = _deployment(CaptionerReplica, name, service, service.captioner.replicas, scaling, 32, queued=64)
    return deployment.bind(model.checkpoint)


def _deployment(
    replica: type,
    name: str,
    service: ServiceSettings,
    replicas: ReplicaSettings,
    scaling: AutoscalingConfig,
    ongoing: int,
    queued: int | None = None,
) -> serve.Deployment:
    """Build a deployment; a replica that stops first finishes its requests.

    Args:
        replica: Class of the replicas.
        name: Name in Ray Serve.
        service: Settings of the service.
        replicas: Number and resources of replicas.
        scaling: Autoscaling policy.
        ongoing: Maximum requests in progress per replica.
        queued: Maximum requests in the queue of each client; None: as many as ``ongoing``.
    """
    return serve.deployment(
        name=name,
        ray_actor_options={"num_cpus": replicas.num_cpus, "num_gpus": replicas.num_gpus},
        autoscaling_config=scaling,
        max_ongoing_requests=ongoing,
        max_queued_requests=queued or ongoing,
        graceful_shutdown_timeout_s=service.limits.deadline_seconds,
        health_check_period_s=2,
        health_check_timeout_s=10,
    )(replica)
