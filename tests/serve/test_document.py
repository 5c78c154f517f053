"""The OpenAPI document says what the service does: schemathesis asks for all of it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import positive_data_acceptance

from tests.serve.in_process import InProcess, Served
from vapray.service.api_keys import add_key

SCOPES = ["images", "bank", "evaluations", "captions", "neighbours", "metrics"]
FEW = settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def keyed(sampler, tmp_path_factory):
    keys = str(tmp_path_factory.mktemp("keys") / "keys.yaml")
    key = add_key(keys, "ward", SCOPES)
    with Served(InProcess(sampler), key, api_keys_file=keys, openapi=True) as made:
        assert made.images(prompt="NV").status_code == 200  # ready from here on
        yield made


@pytest.fixture(scope="module")
def document(keyed):
    return schemathesis.openapi.from_asgi("/openapi.json", keyed.app, headers=keyed.headers)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_the_service_does_what_its_document_says(document, keyed, mode):
    asked, headers = set(), {"Authorization": keyed.headers["authorization"]}
    for found in document.get_all_operations():
        operation = found.ok()
        if mode.is_negative and not operation.body and not operation.query:
            continue  # nothing there that could be wrong

        @FEW
        @given(case=operation.as_strategy(generation_mode=mode))
        def holds(case):
            asked.add(case.formatted_path)
            # What a model has no document can say: a request of the right form may be refused.
            case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

        holds()
    assert len(asked) >= 8


def test_the_document_names_every_error_and_the_key(keyed):
    document = keyed.get("/openapi.json").json()
    open_paths = {"/healthz", "/readyz", "/v1/images/links/{name}"}
    assert open_paths < set(document["paths"])
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert bool(operation.get("security")) is (path not in open_paths), path
            assert "422" not in operation["responses"]
            if path not in open_paths:
                assert {"400", "401", "403", "429", "5XX"} <= set(operation["responses"])
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


def test_the_document_is_there_only_where_it_is_asked_for(keyed, backend):
    assert keyed.get("/openapi.json").json()["info"]["title"] == "vapray"
    with Served(backend) as without:
        assert {without.get(path).status_code for path in ("/docs", "/openapi.json", "/redoc")} == {404}
