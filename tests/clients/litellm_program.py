"""LiteLLM's image generation, as its documentation writes it."""

import base64
import json
import urllib.request

import litellm

found = []
result = litellm.image_generation(model="openai/gpt-image-1", prompt="a large black lesion", n=2, size="1024x1024")
found += [image.b64_json for image in result.data]
result = litellm.image_generation(model="openai/dall-e-3", prompt="a small red lesion", quality="hd")
with urllib.request.urlopen(result.data[0].url) as answer:
    found.append(base64.b64encode(answer.read()).decode())
print(json.dumps({"images": found}))
