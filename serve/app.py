"""The service as a Serve application: ``import_path: serve.app:build``, ``args`` as in ``serve.settings.Service``.

``vapray serve`` and ``serve deploy`` both come here.
"""

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import BackpressureConfig
from ray.serve.handle import DeploymentHandle

from serve.api.application import build_api
from serve.api.audit_log import log_to_stdout
from serve.deployments.autoscaling import by_pending_rows, by_requests
from serve.deployments.captioner import Captioner
from serve.deployments.deployment_health import Health, deployment_of
from serve.deployments.evaluator import Evaluator, has_reference
from serve.deployments.sampler import SamplerReplica
from serve.evaluations.evaluation_store import EvaluationRecords
from serve.model_registry import Catalogue
from serve.serve_backend import Gateway, Handles
from serve.settings import Model, Replicas, Service, read_settings
from vapray.api_keys import read_keys
from vapray.sampling.opening import read_card

__all__ = ["build", "examine"]

HEALTH = {"health_check_period_s": 2, "health_check_timeout_s": 10}
CLIENTS = 4000
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


def examine(args: dict[str, Any]) -> dict[str, float]:
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
        service: Service,
        samplers: dict[str, DeploymentHandle],
        captioners: dict[str, DeploymentHandle],
        evaluator: DeploymentHandle | None,
    ) -> None:
        self._service = service
        log_to_stdout()
        with_reference = [model.name for model in service.models if has_reference(model)]
        self._gateway = Gateway(
            Catalogue(service.models, service.limits.inference_steps, with_reference),
            Handles(samplers, captioners, evaluator),
            EvaluationRecords(service.state),
            Health(serve.get_replica_context().app_name),
        )

    def __serve_build_asgi_app__(self) -> Any:
        return build_api(self._gateway, self._service, names_answers=False)


def _ingress(service: Service) -> serve.Deployment:
    return serve.deployment(
        name="ingress",
        ray_actor_options=_actor(service.ingress),
        autoscaling_config=by_requests(service.ingress, each=64),
        max_ongoing_requests=CLIENTS,
        max_queued_requests=CLIENTS,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=2),
        **_drained(service),
    )(Ingress)


def _sampler(model: Model, service: Service) -> Application:
    deployment = serve.deployment(
        name=deployment_of(model.name),
        ray_actor_options=_actor(model.replicas),
        autoscaling_config=by_pending_rows(model.replicas, model.target_pending_rows),
        max_ongoing_requests=model.max_waiting,
        max_queued_requests=model.max_waiting,
        **_drained(service),
    )(SamplerReplica)
    return deployment.bind(model)


def _evaluator(service: Service, samplers: dict[str, Application]) -> Application | None:
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
    )(Evaluator)
    return deployment.bind(service, samplers)


def _captioner(model: Model, service: Service) -> Application:
    assert service.captioner is not None
    replicas = service.captioner.replicas
    deployment = serve.deployment(
        name=f"captioner-{model.name}",
        ray_actor_options=_actor(replicas),
        autoscaling_config=by_requests(replicas, each=8),
        max_ongoing_requests=32,
        max_queued_requests=64,
        **_drained(service),
    )(Captioner)
    return deployment.bind(model.checkpoint)


def _drained(service: Service) -> dict[str, Any]:
    """A replica that goes first answers what it has."""
    return HEALTH | {"graceful_shutdown_timeout_s": service.limits.deadline_seconds}


def _actor(replicas: Replicas) -> dict[str, Any]:
    return {"num_cpus": replicas.num_cpus, "num_gpus": replicas.num_gpus}
