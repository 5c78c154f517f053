"""Who may ask for what."""

import re

import pytest
from starlette.routing import Mount

from tests.serve.in_process import NAME, Served
from tests.serve.test_bad_requests import EVALUATIONS, IMAGES, said
from tests.serve.uploads import form
from vapray.service.api_keys import add_key

BODIES = {
    IMAGES: {"prompt": "NV", "num_inference_steps": 1},
    EVALUATIONS: {"generate": {"n": 2}},
    "/v1/bank/{class}/distance": {"caption": "a red lesion"},
    "/v1/neighbours": {"image": "aa=="},
    "/v1/captions": {"image": "aa=="},
}
PUBLIC_PATHS = {"/", "/healthz", "/readyz", "/studio/", "/v1/images/links/{name}"}
SCOPES = {
    ("POST", IMAGES): "images",
    ("GET", "/v1/bank/{class}"): "bank",
    ("GET", "/v1/bank/{class}/draw"): "bank",
    ("POST", "/v1/bank/{class}/distance"): "bank",
    ("POST", "/v1/neighbours"): "neighbours",
    ("POST", "/v1/captions"): "captions",
    ("POST", EVALUATIONS): "evaluations",
    ("POST", f"{EVALUATIONS}/images"): "evaluations",
    ("GET", EVALUATIONS): "evaluations",
    ("GET", "/v1/evaluations/{id}"): "evaluations",
    ("DELETE", "/v1/evaluations/{id}"): "evaluations",
    ("GET", "/metrics"): "metrics",
}
ANY_SCOPE = {("GET", path) for path in ("/v1/models", "/v1/models/{id}", "/v1/classes", "/openapi.json")}


@pytest.fixture
def keys(tmp_path) -> str:
    return str(tmp_path / "keys.yaml")


def routes(served: Served) -> set[tuple[str, str]]:
    """All that there are, by method and path."""
    found = set()
    for route in served.app.routes:
        if isinstance(route, Mount):
            found.add(("GET", f"{route.path}/"))
        else:
            found |= {(method, route.path) for method in route.methods}
    return found


def ask(served: Served, method: str, path: str):
    filled = path.replace("{class}", "NV").replace("{id}", NAME)
    body = {} if method != "POST" else {"json": BODIES[path]} if path in BODIES else form(b"1", b"2")
    return served.ask(method, filled, **body)


def test_every_route_wants_a_key_but_those_without_data(backend, keys):
    key = add_key(keys, "ward", ["metrics"])
    with Served(backend, api_keys_file=keys, openapi=True) as served:
        found = routes(served)
        assert {method for method, _ in found} <= {"GET", "HEAD", "POST", "DELETE"}
        assert found - ANY_SCOPE - set(SCOPES) - {("HEAD", "/openapi.json")} == {("GET", path) for path in PUBLIC_PATHS}
        for method, path in found:
            answer = ask(served, method, path)
            assert (answer.status_code == 401) is (path not in PUBLIC_PATHS), (method, path)
            if method != "HEAD" and path not in PUBLIC_PATHS:
                assert said(answer, 401)["code"] == "missing_api_key"
                assert answer.headers["www-authenticate"] == "Bearer"
        assert said(served.get("/nothing/here"), 401)
        assert said(served.ask("OPTIONS", IMAGES), 401)
    assert backend.jobs == [] and key.startswith("vr_")


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {}x", "Bearer vr_", "Bearer é"])
def test_what_is_not_a_key_opens_nothing(backend, keys, given):
    key = add_key(keys, "ward", ["images"])
    with Served(backend, api_keys_file=keys) as served:
        headers = {"authorization": given.format(key).encode("latin-1")}
        said(served.get("/v1/models", headers=headers), 401)
        assert served.get("/v1/models", headers={"authorization": f"bearer {key}"}).status_code == 200


def test_a_key_opens_what_its_scopes_name_and_nothing_else(backend, keys):
    made = {scope: add_key(keys, scope, [scope]) for scope in set(SCOPES.values())}
    for scope, key in made.items():
        with Served(backend, key, api_keys_file=keys) as served:
            for (method, path), wanted in SCOPES.items():
                answer = ask(served, method, path)
                assert (answer.status_code == 403) is (wanted != scope), (scope, method, path, answer.text)
                if wanted != scope:
                    assert said(answer, 403)["code"] == "insufficient_scope"
            assert served.get("/v1/models").status_code == 200


def test_a_key_that_is_taken_out_of_the_file_is_refused_at_once(backend, keys, tmp_path):
    key = add_key(keys, "ward", ["images"])
    with Served(backend, key, api_keys_file=keys) as served:
        assert served.get("/v1/models").status_code == 200
        (tmp_path / "keys.yaml").unlink()
        other = add_key(keys, "other", ["images"])
        assert said(served.get("/v1/models"), 401)
        assert served.get("/v1/models", headers={"authorization": f"Bearer {other}"}).status_code == 200


def test_a_file_of_keys_that_breaks_opens_nothing_and_says_so(backend, keys, tmp_path, caplog):
    key = add_key(keys, "ward", ["images"])
    with Served(backend, key, api_keys_file=keys) as served:
        (tmp_path / "keys.yaml").write_text("keys: [")
        assert said(served.get("/v1/models"), 401)
        assert "All API keys are rejected" in caplog.text and "keys.yaml" in caplog.text


def test_an_evaluation_is_its_owners_alone(backend, keys):
    first, second = (add_key(keys, name, ["evaluations"]) for name in ("first", "second"))
    with Served(backend, first, api_keys_file=keys) as mine, Served(backend, second, api_keys_file=keys) as theirs:
        made = mine.post(EVALUATIONS, {"generate": {"n": 2}})
        where = made.headers["location"]
        assert made.status_code == 202 and mine.get(where).json() == made.json()
        assert [one["id"] for one in mine.get(EVALUATIONS).json()["data"]] == [made.json()["id"]]
        assert said(theirs.get(where), 404) and theirs.get(EVALUATIONS).json()["data"] == []


def test_a_key_may_ask_for_so_many_images_a_minute(backend, keys):
    key, other = add_key(keys, "ward", ["images", "evaluations"], 5), add_key(keys, "other", ["images"], 5)
    with Served(backend, key, api_keys_file=keys) as served:
        first = served.images(prompt="NV", n=3)
        assert first.status_code == 200
        assert first.headers["x-ratelimit-limit-requests"] == "5"
        assert first.headers["x-ratelimit-remaining-requests"] == "2"
        refused = served.images(prompt="NV", n=3)
        error = refused.json()["error"]
        assert (refused.status_code, error["type"]) == (429, "rate_limit_error")
        assert error["code"] == "rate_limit_exceeded" and "2 left" in error["message"]
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert served.images(prompt="NV", n=2, stream=True).headers["x-ratelimit-remaining-requests"] == "0"
        assert served.post(EVALUATIONS, {"generate": {"n": 2}}).status_code == 429
        assert served.ask("POST", f"{EVALUATIONS}/images", **form(b"1", b"2")).status_code == 202
        served.headers = {"authorization": f"Bearer {other}"}
        assert served.images(prompt="NV", n=5).status_code == 200
    assert len(backend.jobs) == 3 + 2 + 5


def test_a_request_that_is_refused_costs_nothing(backend, keys):
    key = add_key(keys, "ward", ["images"], 1)
    with Served(backend, key, api_keys_file=keys) as served:
        assert said(served.images(prompt="NV", label="XX"), 400)
        assert said(served.images(prompt="NV", n=2), 400)["param"] == "n"
        assert served.images(prompt="NV").status_code == 200


def test_without_keys_only_this_machine_is_answered(backend):
    for host, status in (("127.0.0.1", 200), ("127.8.9.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200)):
        with Served(backend, host=host) as served:
            assert served.get("/v1/models").status_code == status
    for host in ("10.0.0.7", "2001:db8::1", "localhost.example", ""):
        with Served(backend, host=host) as served:
            for method, path in routes(served):
                assert said(ask(served, method, path), 403)["code"] == "not_local"


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "Via"])
def test_what_a_proxy_on_this_machine_hands_on_is_not_of_this_machine(served, name):
    assert said(served.get("/v1/models", headers={name: "127.0.0.1"}), 403)["code"] == "not_local"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_this_machine_goes_by_its_own_names(served, host):
    assert served.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:80", "127.0.0.1.nip.io", "", "10.0.0.7", "::1"]
)
def test_a_foreign_page_under_a_name_of_its_own_is_refused(served, host):
    for path in ("/v1/models", "/", "/healthz"):
        assert said(served.get(path, headers={"host": host}), 403)["code"] == "foreign_host"


def test_a_service_without_a_file_of_keys_where_one_is_named_does_not_start(backend, tmp_path):
    from vapray.errors import ConfigError

    with pytest.raises(
        ConfigError, match=re.escape("no such file. Fix: create it with `vapray create-key NAME --file")
    ):
        Served(backend, api_keys_file=str(tmp_path / "none.yaml"))


def test_every_answer_is_locked_down(served):
    for answer in (served.get("/"), served.get("/healthz"), served.get("/none"), served.images(prompt="")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_request_keeps_its_own_id_if_it_is_one(served):
    assert served.get("/healthz", headers={"x-request-id": "ward-7.a_B"}).headers["x-request-id"] == "ward-7.a_B"
    ids = {
        served.get("/healthz", headers={"x-request-id": bad}).headers["x-request-id"] for bad in ("", "a b", "x" * 65)
    }
    assert len(ids) == 3 and all(re.fullmatch(r"req_[0-9a-f]{32}", one) for one in ids)
