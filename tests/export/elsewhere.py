"""Generate images of exports in an interpreter that has diffusers and no vapray; run with ``python -I -S``.

elsewhere.py SITE_PACKAGES ASKED.json: for each [folder, options of from_pretrained, arguments of the pipeline] it
writes the images into ``answers.npz``, or the error into ``errors.json``, both by number.
"""

import json
import sys
from pathlib import Path


def main(site_packages: str, asked: str) -> None:
    sys.path.append(site_packages)  # without the .pth files in it, by which an editable vapray would be found
    try:
        import vapray  # noqa: F401
    except ImportError:
        pass
    else:
        sys.exit("vapray can be imported")
    import numpy as np
    import torch
    from diffusers import DiffusionPipeline
    from transformers import AutoModel, AutoTokenizer

    plan = json.loads(Path(asked).read_text())
    torch.set_num_threads(plan["threads"])
    answers, errors = {}, {}
    for number, (folder, options, arguments) in enumerate(plan["asked"]):
        try:
            if tower := options.pop("tower", None):
                options["text_encoder"] = AutoModel.from_pretrained(tower)
                options["tokenizer"] = AutoTokenizer.from_pretrained(tower)
            pipe = DiffusionPipeline.from_pretrained(folder, **{"trust_remote_code": True, **options})
            pipe.set_progress_bar_config(disable=True)
            if isinstance(embeds := arguments.get("prompt_embeds"), list):
                arguments["prompt_embeds"] = torch.tensor(embeds)
            made = pipe(**arguments)
            answers[str(number)] = np.stack([np.asarray(image) for image in made.images])
            for index in range(len(made.images)):
                (Path(asked).parent / f"{number}-{index}.png").write_bytes(made.to_png(index))
        except Exception as error:
            errors[number] = f"{type(error).__name__}: {error}"
    np.savez(Path(asked).parent / "answers.npz", **answers)
    loaded = sorted({"vapray", "ray"} & set(sys.modules))
    (Path(asked).parent / "errors.json").write_text(json.dumps({"errors": errors, "loaded": loaded}))


if __name__ == "__main__":
    main(*sys.argv[1:])
