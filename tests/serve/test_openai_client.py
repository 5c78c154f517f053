"""The official client works with only base URL and key changed."""

import base64
import dataclasses

import openai
import pytest

from tests.serve.in_process import NAME, Served
from vapray.sampling.sampler import SamplingSettings
from vapray.service.api_keys import add_key

STEPS = {"num_inference_steps": 3}


@pytest.fixture
def keyed(backend, tmp_path):
    key = add_key(str(tmp_path / "keys.yaml"), "ward", ["images"])
    with Served(backend, api_keys_file=str(tmp_path / "keys.yaml")) as made:
        yield made, key


def official(served: Served, key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url="http://localhost/v1", http_client=served.client(), max_retries=0)


def expected(sampler, label: str, caption: str | None, seed: int, **settings) -> bytes:
    chosen = dataclasses.replace(SamplingSettings.from_config(sampler.config), **settings)
    return sampler.generate(label, caption, seed=seed, settings=chosen)[0].to_png()


def test_it_is_given_the_bytes_that_the_sampler_makes(keyed, sampler):
    served, key = keyed
    client = official(served, key)
    asked = client.images.generate(prompt="nv", n=2, size="auto", extra_body={"seed": 7, **STEPS})
    made = served.runner.run(asked)
    found = [base64.b64decode(one.b64_json) for one in made.data]
    assert found == [expected(sampler, "NV", None, seed, **STEPS) for seed in (7, 8)]
    assert [one.revised_prompt for one in made.data] == [sampler.bank.draw(1, seed)[0].caption for seed in (7, 8)]
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens


def test_a_prompt_a_class_and_settings_of_ours_reach_the_sampler(keyed, sampler):
    served, key = keyed
    ours = {"label": "BCC", "seed": 1, "guidance_scale": 1.5, "solver": "ddim", **STEPS}
    made = served.runner.run(official(served, key).images.generate(prompt="a red lesion", extra_body=ours))
    wanted = expected(sampler, "BCC", "a red lesion", 1, guidance_scale=1.5, solver="ddim", **STEPS)
    assert base64.b64decode(made.data[0].b64_json) == wanted


def test_it_is_shown_images_on_their_way(keyed, sampler):
    served, key = keyed

    async def events():
        asked = {"extra_body": {"seed": 7, **STEPS}}
        stream = await official(served, key).images.generate(prompt="NV", stream=True, partial_images=2, n=2, **asked)
        return [event async for event in stream]

    found = served.runner.run(events())
    partial = [event for event in found if event.type == "image_generation.partial_image"]
    assert sorted((event.image_index, event.partial_image_index) for event in partial) == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    finished = {event.image_index: event for event in found if event.type == "image_generation.completed"}
    assert len(found) == len(partial) + len(finished) and len(finished) == 2
    for index, event in finished.items():
        assert base64.b64decode(event.b64_json) == expected(sampler, "NV", None, 7 + index, **STEPS)
        assert event.size == f"{sampler.config.data.image_size}x{sampler.config.data.image_size}"


def test_it_lists_the_models(keyed, sampler):
    served, key = keyed

    async def models():
        client = official(served, key)
        return [model async for model in client.models.list()], await client.models.retrieve(NAME)

    listed, one = served.runner.run(models())
    assert listed == [one] and one.id == NAME and one.sha256 == sampler.model_sha256


def test_it_raises_its_own_errors(keyed, backend):
    served, key = keyed
    with pytest.raises(openai.AuthenticationError, match="Unknown API key"):
        served.runner.run(official(served, "vr_wrong").images.generate(prompt="NV"))
    with pytest.raises(openai.BadRequestError) as refused:
        served.runner.run(official(served, key).images.generate(prompt="NV", n=11))
    assert (refused.value.param, refused.value.code) == ("n", "invalid_value")
    with pytest.raises(openai.NotFoundError) as absent:
        served.runner.run(official(served, key).images.generate(prompt="NV", model="dall-e-4"))
    assert absent.value.code == "unknown_model"
    assert backend.jobs == []
