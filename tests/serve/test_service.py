"""The service as people start it: the command, Ray Serve, and what happens when its parts die."""

import base64
import io
import socket
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import openai
import psutil
import pytest
from PIL import Image

from tests.faults.ray_processes import killed
from tests.serve.running import running_service
from vapray.sampling.provenance import read_provenance
from vapray.sampling.sampler import Sampler, SamplingSettings

SHARE = {"replicas": {"min": 2, "max": 2, "num_cpus": 0.5}}


@pytest.fixture(scope="module")
def service(small_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    parts = {"captioner": {}, "show_training_images": True}
    with running_service(folder, small_checkpoint, model=SHARE, **parts) as running:
        yield running


def pixels_of(item) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))))


def test_openais_client_works_with_another_base_url(service):
    with openai.OpenAI(base_url=f"{service.base}/v1", api_key="none") as client:
        assert [model.id for model in client.models.list()] == ["demo"]
        answer = client.images.generate(model="demo", prompt="a round brown lesion", n=2)
        events = list(client.images.generate(prompt="a round brown lesion", stream=True, partial_images=2))
    assert len(answer.data) == 2
    assert read_provenance(base64.b64decode(answer.data[0].b64_json))["Synthetic"]
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]


def test_an_answer_has_one_name_that_its_client_may_choose(service):
    for asked in ({}, {"x-request-id": "mine-1"}):
        request = urllib.request.Request(f"{service.base}/v1/models", headers=asked)
        with urllib.request.urlopen(request, timeout=60) as answer:
            names = answer.headers.get_all("x-request-id")
        assert len(names) == 1
        assert names[0] == asked.get("x-request-id", names[0])


def test_a_set_is_generated_measured_and_compared_with_real_pictures(service):
    with openai.OpenAI(base_url=f"{service.base}/v1", api_key="none") as client:
        taken = client.post("/evaluations", body={"generate": {"n": 6}}, cast_to=dict)
        while (found := client.get(f"/evaluations/{taken['id']}", cast_to=dict))["status"] in ("queued", "running"):
            time.sleep(0.5)
        picture = client.images.generate(prompt="MEL").data[0].b64_json
        near = client.post("/neighbours", body={"image": picture, "k": 2}, cast_to=dict)
        said = client.post("/captions", body={"image": picture}, cast_to=dict)
    assert found["status"] == "succeeded", found
    assert found["results"]["fid"]["value"] > 0
    assert len(near["data"]) == 2
    assert said["captioner"] == "measured captions"


def test_a_seed_is_a_picture_under_any_load(service, small_checkpoint):
    sampler = Sampler.load(str(small_checkpoint))
    settings = SamplingSettings(num_inference_steps=6, guidance_scale=1.5)
    expected = sampler.generate("MEL", "a round brown lesion", seed=3, settings=settings)[0].pixels
    job = {
        "prompt": "a round brown lesion", "label": "MEL", "seed": 3, "num_inference_steps": 6, "guidance_scale": 1.5
    }  # fmt: skip
    with ThreadPoolExecutor(16) as clients:
        crowd = [
            clients.submit(service.make, bank="draw", label=seed % 3, seed=seed, num_inference_steps=2 + seed % 9)
            for seed in range(60)
        ]
        asked = [clients.submit(service.make, **job) for _ in range(8)]
        pictures = [pixels_of(one.result()["data"][0]) for one in asked]
        assert all(one.result()["data"] for one in crowd)
    assert max(int(np.abs(picture.astype(int) - expected).max()) for picture in pictures) <= 1
    assert len({picture.tobytes() for picture in pictures}) == 1


@pytest.mark.slow
def test_a_replica_killed_under_load_costs_no_request(service):
    """Every one of 150 requests is answered, though one of two samplers dies while it works on some of them."""
    struck = threading.Event()

    def ask(number: int) -> int:
        if number == 40:
            struck.wait()
        return len(service.make(bank="draw", label=number % 3, seed=number, num_inference_steps=20)["data"])

    deadline = time.monotonic() + 120
    while len(service.counts("sampler_finished")) < 2:  # a service is ready with one replica
        assert time.monotonic() < deadline, "the second sampler generated nothing"
        ask(0)
    with ThreadPoolExecutor(12) as clients:
        answers = [clients.submit(ask, number) for number in range(150)]
        while sum(answer.done() for answer in answers) < 20:
            time.sleep(0.05)
        victim = service.replicas("sampler-demo")[0]
        victim.suspend()
        time.sleep(0.5)  # requests reach it
        assert killed(victim)
        killed_at = time.monotonic()
        left = sum(not answer.done() for answer in answers)
        struck.set()
        while len([one for one in service.replicas("sampler-demo") if one != victim]) < 2 or not service.is_ready():
            assert time.monotonic() < killed_at + 120, service.log.read_text()
            time.sleep(0.2)
        healthy_after = time.monotonic() - killed_at
        assert [answer.result() for answer in answers] == [1] * 150
    print(f"healthy again after {healthy_after:.1f} s, {left} of 150 requests were under way or to come")
    assert left > 100
    assert service.wait_for_count("replica_retries", 1) >= 1


def test_what_a_client_that_leaves_has_asked_for_is_cancelled(service):
    """The client leaves when it has seen the first preview, so that the sampler is known to be at work."""
    before = service.counted("sampler_cancelled")
    body = b'{"bank": "draw", "label": 0, "n": 10, "num_inference_steps": 250, "stream": true, "partial_images": 3}'
    parts = urlsplit(service.base)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as client:
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: localhost:{parts.port}\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        received = b""
        while b"partial_image" not in received:
            received += (part := client.recv(65536))
            assert part, received
    assert service.wait_for_count("sampler_cancelled", before + 1) >= before + 1


@pytest.mark.slow
def test_a_client_that_reads_nothing_is_closed_by_the_proxy(service):
    """The responses fill the buffers of both sockets; the proxy then keeps the rest."""
    parts = urlsplit(service.base)
    with urllib.request.urlopen(f"{service.base}/studio/studio.css", timeout=60) as answer:
        assert 3000 * len(answer.read()) > 16 * 2**20
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((parts.hostname, parts.port))
        client.sendall(f"GET /studio/studio.css HTTP/1.1\r\nHost: localhost:{parts.port}\r\n\r\n".encode() * 3000)

        def connected() -> bool:
            found = [one for proxy in service.proxies() for one in proxy.net_connections()]
            return any(one.raddr and one.raddr.port == client.getsockname()[1] for one in found)

        time.sleep(20)
        assert connected()
        deadline = time.monotonic() + 100
        while connected() and time.monotonic() < deadline:
            time.sleep(1)
        assert not connected()


@pytest.mark.slow
def test_memory_is_bounded_and_overload_is_told(small_checkpoint, tmp_path):
    """Of 2,000 requests at once as many are answered as may wait, the others are told to come again."""
    model = {"max_queued_requests": 64, "replicas": {"num_cpus": 0.5}}
    with running_service(tmp_path, small_checkpoint, model=model) as service:
        parts = urlsplit(service.base)
        service.make(bank="draw", label=0)
        before = memory_of(service.process)
        statuses = ask_at_once(parts.hostname, parts.port, 2000)
        assert set(Counter(statuses)) == {200, 429}, Counter(statuses)
        assert memory_of(service.process) - before < 600 * 2**20
        service.make(bank="draw", label=0)


def memory_of(process: psutil.Process) -> int:
    return sum(one.memory_info().rss for one in process.children(recursive=True) if one.is_running())


def ask_at_once(host: str, port: int, count: int) -> list[int]:
    """The statuses of so many requests on connections that are all open before the first of them is sent."""
    body = b'{"bank": "draw", "label": 0, "num_inference_steps": 4}'
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n"
    message = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    clients = [socket.create_connection((host, port), timeout=300) for _ in range(count)]
    for client in clients:
        client.sendall(message)
    statuses = []
    for client in clients:
        with client, client.makefile("rb") as answer:
            statuses.append(int(answer.readline().split()[1]))
            answer.read()
    return statuses
