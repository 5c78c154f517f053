"""Multimodal language model in vLLM: one engine in this process for many conversations at a time."""

import itertools
import os
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vapray.captioning.chat import ChatCompletion, DecodingParams, Messages, RequestRejectedError
from vapray.captioning.reasoning import opened_reasoning
from vapray.captioning.vlm_files import VlmFiles, find_vlm
from vapray.config import Vllm
from vapray.errors import BackendError, ConfigError, EngineDeadError
from vapray.runtime.reaper import reaped

__all__ = ["VllmChat", "load_processor"]

ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
NO_DEVICE = ("Device string must not be empty", "Failed to infer device type", "No CUDA GPUs are available")
OUT_OF_MEMORY = ("out of memory", "cache blocks", "KV cache", "gpu memory utilization", "Free memory")


class VllmChat:
    """``ChatModel`` over ``vllm.AsyncLLM``."""

    def __init__(self, engine: Any, processor: Any, ending: ExitStack, files: VlmFiles, concurrency: int) -> None:
        """See :meth:`start`."""
        self._engine, self._processor, self._ending = engine, processor, ending
        self.name, self.revision, self.concurrency = files.name, files.revision, concurrency
        self._numbers = itertools.count()

    @classmethod
    async def start(cls, model: str, revision: str | None, settings: Vllm) -> "VllmChat":
        """Load a model and start its engine, on the running event loop.

        Args:
            model: hub id, or folder in the hub's layout.
            revision: revision of a hub id; None: the newest.
            settings: engine settings.

        Raises:
            BackendError: vLLM or the model is missing, or the engine does not start.
            ConfigError: unknown engine argument.
        """
        for name, value in ENVIRONMENT.items():  # before vLLM is imported, which reads them
            os.environ.setdefault(name, value)
        try:
            from vllm import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise BackendError(
                f"caption.captioner = vllm: vLLM cannot be imported ({error}). Fix: install vapray[vllm] where the "
                "actors run, or set caption.captioner to openai, or for dermoscopy to measured."
            ) from error
        files, heard = find_vlm(model, revision), _StandardError()
        ending = ExitStack()
        ending.enter_context(reaped())  # its processes outlive an actor that Ray ends
        try:
            processor = load_processor(files.folder, settings)
            arguments = AsyncEngineArgs(model=str(files.folder), **_engine_arguments(AsyncEngineArgs, settings))
            engine = AsyncLLM.from_engine_args(arguments)
        except ConfigError:
            ending.close()
            raise
        except Exception as error:  # vLLM raises whatever its parts raise
            ending.close()
            raise BackendError(_why_no_engine(model, settings, heard.cause() or str(error))) from error
        ending.callback(engine.shutdown)
        return cls(engine, processor, ending, files, settings.max_num_seqs)

    async def complete(
        self, turns: Messages, image: NDArray[np.uint8] | None, decoding: DecodingParams
    ) -> ChatCompletion:
        """Continue a conversation; see :class:`vapray.captioning.chat.ChatModel`.

        Raises:
            EngineDeadError: the engine died; only a new process can start another.
            RequestRejectedError: the engine refuses the request, such as a conversation above its maximum length.
        """
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError as VllmEngineDeadError
        from vllm.v1.engine.exceptions import EngineGenerateError

        number, prompt = str(next(self._numbers)), self._prompt(turns, image)
        try:
            async for output in self._engine.generate(prompt, _sampling(decoding), number):
                done = output
        except VllmEngineDeadError as error:
            raise EngineDeadError(f"{self.name}: its engine died. {_FREE_MEMORY}") from error
        except EngineGenerateError as error:
            raise EngineDeadError(
                f"{self.name}: its engine failed ({error.__cause__ or error}). {_FREE_MEMORY}"
            ) from error
        except (VLLMClientError, ValueError) as error:
            raise RequestRejectedError(str(error).partition("\n")[0]) from error
        said = done.outputs[0]
        return ChatCompletion(
            opened_reasoning(prompt["prompt"]) + said.text,
            len(done.prompt_token_ids or ()),
            done.num_cached_tokens or 0,
            len(said.token_ids),
            str(said.finish_reason),
        )

    def close(self) -> None:
        """End the engine and its processes."""
        self._ending.close()

    def _prompt(self, turns: Messages, image: NDArray[np.uint8] | None) -> dict[str, Any]:
        messages = []
        for number, text in enumerate(turns):
            shown: list[dict[str, str]] = [{"type": "image"}] if image is not None and number == 0 else []
            role = "assistant" if number % 2 else "user"
            messages.append({"role": role, "content": [*shown, {"type": "text", "text": text}]})
        written = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        shown_image = {} if image is None else {"multi_modal_data": {"image": Image.fromarray(image)}}
        return {"prompt": written, **shown_image}


def load_processor(folder: Path, settings: Vllm) -> Any:
    """Load the processor of a model; code in the folder runs with trust_remote_code in ``vllm.engine_args`` only."""
    from transformers import AutoProcessor

    trusted = bool(settings.engine_args.get("trust_remote_code", False))
    return AutoProcessor.from_pretrained(folder, trust_remote_code=trusted)


_FREE_MEMORY = "Most often memory ran out. Fix: lower vllm.max_num_seqs or vllm.max_model_len."


def _sampling(decoding: DecodingParams) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    structured = None
    if decoding.schema:  # a model may never stop writing optional spaces
        structured = StructuredOutputsParams(json=dict(decoding.schema), disable_any_whitespace=True)
    return SamplingParams(
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        max_tokens=decoding.max_tokens,
        seed=decoding.seed,
        structured_outputs=structured,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _engine_arguments(known: type, settings: Vllm) -> dict[str, Any]:
    names = {field.name for field in fields(known)}
    if unknown := sorted(set(settings.engine_args) - names):
        raise ConfigError(
            f"vllm.engine_args: {', '.join(unknown)} is unknown to the installed vLLM. Its AsyncEngineArgs lists "
            "the known ones."
        )
    return {
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "dtype": settings.dtype,
        "limit_mm_per_prompt": {"image": 1},
        "enable_prefix_caching": True,
        **settings.engine_args,
    }


def _why_no_engine(model: str, settings: Vllm, cause: str) -> str:
    if any(sign in cause for sign in NO_DEVICE):
        return (
            f"caption.captioner = vllm: vLLM finds no device that it was built for ({cause}). Fix: set "
            "pools.caption.num_gpus=1 on nodes with GPUs, or caption.captioner=openai, or for dermoscopy measured."
        )
    if not any(sign.lower() in cause.lower() for sign in OUT_OF_MEMORY):
        return f"caption.model {model}: vLLM's engine does not start: {cause}"
    return (
        f"caption.model {model}: not enough memory for vLLM's engine: {cause} "
        f"Fix: lower vllm.max_model_len ({settings.max_model_len:,}) or vllm.max_num_seqs ({settings.max_num_seqs}), "
        f"raise vllm.gpu_memory_utilization ({settings.gpu_memory_utilization:g}) if nothing else uses the GPU, "
        f"raise vllm.tensor_parallel_size ({settings.tensor_parallel_size}) and pools.caption.num_gpus with it, or "
        "set a smaller or quantized caption.model."
    )


class _StandardError:
    """Standard error from now on: the engine's own process writes there why it ended."""

    def __init__(self) -> None:
        self._path = Path("/proc/self/fd/2")
        self._begin = self._path.stat().st_size if self._path.is_file() else 0

    def cause(self) -> str:
        """Return the last line with an error; empty if standard error is not a file."""
        if not self._path.is_file():
            return ""
        with self._path.open(errors="replace") as file:
            file.seek(self._begin)
            lines = [line.strip() for line in file if "Error: " in line]
        roots = [line for line in lines if "Engine core initialization failed" not in line]
        return roots[-1].rpartition("] ")[2] if roots else ""
