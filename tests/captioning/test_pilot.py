"""The pilot stops captioning before all images are asked about, if too many of its captions are rejects."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

IMAGES, PILOT = 20, 6


class _Endpoint(BaseHTTPRequestHandler):
    text, finish_reason, asked = "", "stop", 0

    def do_GET(self) -> None:
        self._send({"data": []})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).asked += 1
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.text},
            "finish_reason": self.finish_reason,
        }
        self._send({"id": "1", "object": "chat.completion", "choices": [choice]})

    def _send(self, answer: dict) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    _Endpoint.asked, _Endpoint.finish_reason = 0, "stop"
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_pilot_of_rejects_stops_the_stage_with_examples_and_again_without_a_request(
    endpoint: str, tmp_path: Path, joined_job: Callable
) -> None:
    folder, root = tmp_path / "photos" / "a", tmp_path / "run"
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        Image.fromarray(np.full((40, 40, 3), number, np.uint8)).save(folder / f"{number:02}.png")
    data = ["data.source=folder", f"data.root={folder.parent}"]
    assert joined_job("ingest", *data, root=root).returncode == 0
    asks = ["caption.captioner=openai", "caption.model=m", f"endpoint.base_url={endpoint}", "caption.strategy=direct"]
    words = [*data, *asks, "caption.retries=0", f"caption.pilot={PILOT}", "pools.caption.batch_rows=4"]
    _Endpoint.text = "I'm sorry, but I can't assist with that."
    for _ in range(2):
        done = joined_job("caption", *words, root=root)
        assert done.returncode == 6, done.stderr
        assert f"{PILOT} of the first {PILOT} of {IMAGES} rows were rejected" in done.stderr
        assert (
            f"The others were not started. By reason: {PILOT} such as a/00: refusal: the model declines" in done.stderr
        )
        assert _Endpoint.asked == PILOT
    _Endpoint.text = "Sure! **A brown spot.**"
    done = joined_job("caption", *words, "run.max_reject_fraction=0.3", root=root)
    assert done.returncode == 6, done.stderr
    assert _Endpoint.asked == PILOT
    _Endpoint.text, _Endpoint.finish_reason = "Sure! **A brown spot.** Its border", "length"
    done = joined_job("caption", *words, "caption.max_tokens=100", root=root)
    assert done.returncode == 0, done.stderr
    assert f"{IMAGES} captions end with their last whole sentence within caption.max_tokens" in done.stdout
    assert _Endpoint.asked == PILOT + IMAGES
    assert joined_job("caption", *words, "caption.max_tokens=100", "caption.pilot=0", root=root).returncode == 0
    assert _Endpoint.asked == PILOT + IMAGES
