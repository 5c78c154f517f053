"""LangChain's wrapper of DALL-E, as its documentation writes it."""

import base64
import json
import urllib.request

from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

found = []
for model in ("dall-e-2", "dall-e-3"):
    urls = DallEAPIWrapper(model=model, n=2 if model == "dall-e-2" else 1).run("a large black lesion")
    for url in urls.split("\n"):
        if url.strip():
            with urllib.request.urlopen(url.strip()) as answer:
                found.append(base64.b64encode(answer.read()).decode())
print(json.dumps({"images": found}))
