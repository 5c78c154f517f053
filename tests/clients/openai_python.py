"""A program for OpenAI's image API with its official Python client, as its documentation writes it."""

import base64
import json
import urllib.request

from openai import OpenAI

client = OpenAI()
found = []
result = client.images.generate(
    model="gpt-image-1",
    prompt="a large black lesion",
    n=2,
    size="1024x1024",
    quality="high",
    background="auto",
    moderation="low",
    output_format="png",
    user="ward 7",
)
found += [image.b64_json for image in result.data]
result = client.images.generate(
    model="dall-e-3", prompt="a small red lesion", size="1792x1024", quality="hd", style="vivid", n=1
)
with urllib.request.urlopen(result.data[0].url) as answer:
    found.append(base64.b64encode(answer.read()).decode())
stream = client.images.generate(model="gpt-image-1", prompt="a brown lesion", stream=True, partial_images=2)
events = list(stream)
found.append(events[-1].b64_json)
print(
    json.dumps(
        {
            "images": found,
            "kinds": [event.type for event in events],
            "models": [model.id for model in client.models.list()],
        }
    )
)
