"""Randomly drawn text encoders in the file layouts of the real ones; small enough for a test."""

import json
import os
from pathlib import Path
from typing import Any

WORDS = [
    *("a", "an", "and", "of", "with", "lesion", "skin", "nevus", "outline", "texture", "area"),
    *("dark", "brown", "blue", "white", "large", "small", "oval", "irregular"),
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz0123456789.,%-"]
VOCABULARY += [f"##{character}" for character in "abcdefghijklmnopqrstuvwxyz0123456789"]
BIOMED_TOWER = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"


def bert_config(**changes: Any) -> Any:
    from transformers import BertConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertConfig(**({"vocab_size": len(VOCABULARY), "max_position_embeddings": 64} | sizes | changes))


def write_wordpiece(folder: Path) -> None:
    """vocab.txt, tokenizer.json and tokenizer_config.json of an uncased BERT."""
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(VOCABULARY)) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(folder)


def biomedclip(folder: Path, *, seed: int = 0, pooler: str = "cls_last_hidden_state_pooler", bert: Any = None) -> Path:
    """The layout of BiomedCLIP's folder on the hub, with the config.json of its text tower beside."""
    import open_clip
    import torch

    write_wordpiece(folder)
    (bert or bert_config()).save_pretrained(folder)
    text = {
        "hf_model_name": BIOMED_TOWER,
        "hf_tokenizer_name": BIOMED_TOWER,
        "hf_proj_type": "mlp",
        "hf_pooler_type": pooler,
        "context_length": 32 if bert is None else 256,
    }
    vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "timm_proj": "linear", "image_size": 32}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = open_clip.create_model(
        f"local-dir:{folder}", text_cfg=text | {"hf_model_name": str(folder), "hf_model_pretrained": False}
    )
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder


def bert(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A BERT as transformers saves it."""
    import torch
    from transformers import BertModel

    write_wordpiece(folder)
    torch.manual_seed(seed)
    BertModel(bert_config(**changes)).save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    """OpenAI's CLIP as transformers saves it, image tower included; byte pairs of single letters."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1}
    text = size | ends | {"vocab_size": len(tokens), "max_position_embeddings": 77}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=size | {"image_size": 32, "patch_size": 16})
    CLIPModel(config).save_pretrained(folder)
    return folder


def in_hub_cache(folder: Path, cache: Path, name: str, commit: str = "0" * 40) -> None:
    """Lay a folder into a hub cache, as a download would have left it."""
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "snapshots").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    os.symlink(folder, place / "snapshots" / commit)
