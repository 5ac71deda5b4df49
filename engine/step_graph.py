"""One pass of the transformer as a static graph: every input a tensor of fixed shape, nothing decided while it runs.

`DiT.forward` makes its tables, and the keys and values of text and picture, anew at each call. Here they are inputs,
made once by `step_tensors` and `still_conditions`, so that the pass can be exported, or captured and replayed. Knows
the order of the network's parts; knows no file and no runtime.

Shapes as in `dit`; L blocks, M tokens of a text or picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from avacast.engine.attention import Context, KeysValues
from avacast.engine.dit import Block, DiT
from avacast.engine.modulation import sinusoid
from avacast.engine.rope import Rotation

TEXT, IMAGE = ("text_keys", "text_values"), ("image_keys", "image_values")


class StepGraph(nn.Module):
    """Audio adapter and transformer of a `DiT` in one static forward; shares its weights."""

    def __init__(self, dit: DiT, blocks: Sequence[Callable[..., Tensor]] | None = None) -> None:
        """`blocks` run in place of the transformer's own, as compiled ones do."""
        super().__init__()
        self.dit = dit
        # No list of modules: the weights are the transformer's, and must not be found twice.
        self._blocks = None if blocks is None else tuple(blocks)

    def forward(
        self,
        latents: Tensor,
        reference: Tensor,
        timestep: Tensor,
        cos: Tensor,
        sin: Tensor,
        audio: Tensor,
        audio_mask: Tensor,
        text_keys: Tensor | None = None,
        text_values: Tensor | None = None,
        image_keys: Tensor | None = None,
        image_values: Tensor | None = None,
        motion: Tensor | None = None,
    ) -> Tensor:
        """The raw output [B, C, F, H, W], as `DiT.forward` gives it.

        `latents` [B, C, F, H, W], `reference` [B, 4+C, F, H, W], `timestep` [B, freq_dim] float32 sinusoids, `cos` and
        `sin` [N, D / heads] float32, `audio` [B, F, A, audio_in_dim], `audio_mask` [B, F, A] bool, keys and values
        [L, B, M, D], `motion` [B, F, motion_dim]; the last five exactly where the network takes them.
        """
        dit = self.dit
        grid = tuple(size // cell for size, cell in zip(latents.shape[2:], dit.config.patch_size, strict=True))
        embedding = dit.time_embedding(timestep)
        steering = dit.time_projection(embedding)
        patches = dit.patch_embedding(torch.cat((latents, reference), dim=1))
        heard = dit.vocal_projector(audio, audio_mask, patches, embedding, steering)
        context = Context(heard, audio_mask if dit.config.mask_audio_padding else None)
        given = ((text_keys, text_values), (image_keys, image_values))
        pairs = [(keys, values) for keys, values in given if keys is not None and values is not None]
        x = patches
        if motion is not None:
            x = (patches.unflatten(1, (grid[0], -1)) + dit.motion_embedding(motion).unsqueeze(2)).flatten(1, 2)
        for index, block in enumerate(self._blocks or dit.blocks):
            still = tuple(KeysValues(keys[index], values[index]) for keys, values in pairs)
            x = block(x, steering, Rotation(cos, sin), replace(context, still=still))
        return dit.head(x, embedding, grid)


def step_tensors(
    dit: DiT,
    latents: Tensor,
    timestep: Tensor,
    reference: Tensor,
    audio: Tensor,
    audio_mask: Tensor,
    motion: Tensor | None = None,
) -> dict[str, Tensor]:
    """Inputs of `StepGraph` by name from the arguments of `DiT.forward`, without those of `still_conditions`."""
    grid = tuple(size // cell for size, cell in zip(latents.shape[2:], dit.config.patch_size, strict=True))
    rotation = dit.rope(*grid)
    tensors = {
        "latents": latents,
        "reference": reference,
        "timestep": sinusoid(timestep, dit.config.freq_dim),
        "cos": rotation.cos,
        "sin": rotation.sin,
        "audio": audio,
        "audio_mask": audio_mask,
    }
    return tensors if motion is None else tensors | {"motion": motion}


def still_conditions(dit: DiT, text: Tensor | None, image: Tensor | None) -> dict[str, Tensor]:
    """What every block reads of the conditions that stay the same for a whole stream: inputs of `StepGraph` by name.

    `text` [B, text_len, text_dim] and `image` [B, 257, clip_dim], exactly where the network has them.
    """
    embedded_text = None if text is None else dit.text_embedding(text)
    embedded_image = None if image is None else dit.img_emb(image)
    names = [pair for pair, given in ((TEXT, text), (IMAGE, image)) if given is not None]
    by_block = [cast("Block", block).cross_attn.read(embedded_text, embedded_image) for block in dit.blocks]
    tensors: dict[str, Tensor] = {}
    for index, (keys, values) in enumerate(names):
        tensors[keys] = torch.stack([still[index].key for still in by_block])
        tensors[values] = torch.stack([still[index].value for still in by_block])
    return tensors
