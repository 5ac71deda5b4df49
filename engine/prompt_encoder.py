"""Prompts in, text states out, by the released text encoder: 11 GB of weights that pass by one block at a time.

It knows the tokenizer's file and the order of the blocks; it does not know what the states are for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from avacast.engine.bundle import is_finite, one_line
from avacast.engine.errors import BadBundle, BadSetting
from avacast.engine.umt5 import BLOCK_NAMES, Umt5, Umt5Config

OpenWeights: TypeAlias = Callable[[], Mapping[str, Tensor]]
"""Opens the checkpoint anew: what was read of it leaves memory when the tensors of a call are let go."""


def tokenize(tokenizer: Path, prompts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Token ids of each prompt, the closing token included, cut at `max_tokens`; white space is made single.

    Raises BadBundle when the file is no tokenizer, BadSetting for an empty prompt.
    """
    try:
        json.loads(tokenizer.read_text(encoding="utf-8"))
        loaded = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # bare, because the library raises nothing narrower
        raise BadBundle(f"{tokenizer} is no tokenizer ({one_line(error)[:200]}); download it again") from error
    loaded.no_padding()
    loaded.enable_truncation(max_tokens)
    cleaned = [" ".join(prompt.split()) for prompt in prompts]
    if not all(cleaned):
        raise BadSetting("a prompt is empty; say what the video shows")
    return [loaded.encode(prompt).ids for prompt in cleaned]


@torch.inference_mode()
def encode_prompts(
    config: Umt5Config,
    open_weights: OpenWeights,
    token_ids: Sequence[Sequence[int]],
    on_block: Callable[[], None] = lambda: None,
) -> list[Tensor]:
    """The states `[N, dim]` float32 of each prompt's N tokens; `on_block` is called after each of the blocks.

    Raises BadBundle for a token beyond the vocabulary, or for weights that are NaN or infinite.
    """
    length = max(map(len, token_ids))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in token_ids])
    mask = torch.tensor([[i < len(row) for i in range(length)] for row in token_ids])
    if int(ids.max()) >= config.vocab_size:
        raise BadBundle(f"the tokenizer gives token {int(ids.max())} of {config.vocab_size}; download it again")
    with torch.device("meta"):
        stack = Umt5(config).eval().network.encoder
    weights = open_weights()
    rows = _checked({"token_embedding.weight": weights["token_embedding.weight"][ids]})["token_embedding.weight"]
    norm = _checked({"norm.weight": weights["norm.weight"]})
    stack.final_layer_norm.load_state_dict({"weight": norm["norm.weight"]}, assign=True)
    del weights
    for index, block in enumerate(stack.block):
        block.register_forward_pre_hook(partial(_fetch, open_weights, index))
        block.register_forward_hook(partial(_let_go, on_block))
    states = stack(inputs_embeds=rows, attention_mask=mask.long()).last_hidden_state
    return [row[: len(tokens)].clone() for row, tokens in zip(states, token_ids, strict=True)]


def _fetch(open_weights: OpenWeights, index: int, block: nn.Module, _inputs: object) -> None:
    weights = open_weights()
    own = _checked(
        {f"blocks.{index}.{public}.weight": weights[f"blocks.{index}.{public}.weight"] for public in BLOCK_NAMES}
    )
    names = [f"{theirs}.weight" for theirs in BLOCK_NAMES.values()]
    block.load_state_dict(dict(zip(names, own.values(), strict=True)), assign=True)


def _let_go(on_block: Callable[[], None], block: nn.Module, _inputs: object, _output: object) -> None:
    block.to("meta")
    on_block()


def _checked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise BadBundle(f"the text encoder holds NaN or infinite weights in {name}; download it again")
    return {name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}
