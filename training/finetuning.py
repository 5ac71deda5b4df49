"""One fine-tuning run: adapters or all weights of a transformer, trained on encoded clips.

The trainer, the loss and the optimiser are those of the pocket recipe; they are joined here to real clips. Knows no
videos, no command line and nothing of where results are written but the checkpoint and the previews.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from avacast.engine.config import ModelConfig
from avacast.engine.dit import DiT
from avacast.engine.networks import Networks
from avacast.training.checkpoint import load_stage
from avacast.training.clip_batches import ClipBatches
from avacast.training.clip_cache import read_clip
from avacast.training.finetune_folder import FinetuneFolder
from avacast.training.finetune_recipe import FinetuneRecipe
from avacast.training.lora import Adapters
from avacast.training.loss import flow_matching_loss
from avacast.training.optimiser import Optimiser, adamw
from avacast.training.preview import write_preview
from avacast.training.trainer import Trainer

log = logging.getLogger(__name__)

_NUM_FIXED = 4
"""Batches, never trained on as drawn, on which the averaged weights are measured at every checkpoint."""


class Finetuning:
    """The trained part of `networks.dit`, its optimiser, and where both stand."""

    def __init__(self, networks: Networks, config: ModelConfig, recipe: FinetuneRecipe, seed: int) -> None:
        """`networks` are in float32; their transformer gets adapters, or is made to train."""
        self._networks, self._config, self._recipe, self._seed = networks, config, recipe, seed
        self._dit = networks.dit
        torch.manual_seed(seed)
        self._adapters = _adapters(self._dit, recipe) if recipe.lora_rank else None
        self._trained: nn.Module = self._adapters or self._dit.requires_grad_(True)
        self._optimiser = Optimiser(
            self._trained,
            lr=recipe.lr,
            num_steps=recipe.num_steps,
            ema=recipe.ema,
            weight_decay=recipe.weight_decay,
            parts=adamw,
        )
        if recipe.recompute:
            _recompute_blocks(self._dit)

    def train(
        self,
        clips: list[Path],
        folder: FinetuneFolder,
        on_step: Callable[[int, float], None] = lambda _steps_done, _loss: None,
    ) -> None:
        """Runs the training in `folder`, or goes on with it; `on_step(steps_done, loss)` is called after each step."""
        recipe, config = self._recipe, self._config
        text = None if self._networks.text is None else self._networks.text.positive
        batches = ClipBatches(clips, config, recipe, text, self._seed)
        load_stage(folder.checkpoint, self._trained, self._optimiser)

        def on_checkpoint(steps_done: int, running_loss: float) -> None:
            with self._optimiser.averaged():
                averaged_loss = self._fixed_loss(batches)
                preview, shown = folder.preview(steps_done), read_clip(clips[0], config)
                write_preview(self._networks, config, shown, preview, recipe.preview_steps)
            log.info("step %d: loss %.4f, of averaged weights %.4f", steps_done, running_loss, averaged_loss)

        trainer = Trainer(
            "finetune", self._trained, self._optimiser, folder.checkpoint, recipe.num_steps, recipe.checkpoint_every
        )
        trainer.run(partial(self._loss, batches), on_checkpoint, on_step)

    def merged(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The transformer's weights with what was learnt, averaged; names and types as in `stored`, on the CPU."""
        with self._optimiser.averaged():
            if self._adapters is not None:
                return self._adapters.merged(stored)
            learnt = self._dit.state_dict()
            return {name: learnt[name].to("cpu", tensor.dtype, copy=True) for name, tensor in stored.items()}

    def adapter(self) -> dict[str, Tensor] | None:
        """The adapters by themselves, averaged; None where all weights were trained."""
        if self._adapters is None:
            return None
        with self._optimiser.averaged():
            return self._adapters.tensors()

    def _loss(self, batches: ClipBatches, step: int) -> Tensor:
        return flow_matching_loss(
            self._dit, {name: tensor.to(self._networks.device) for name, tensor in batches.at(step).items()}
        )

    @torch.no_grad()
    def _fixed_loss(self, batches: ClipBatches) -> float:
        beyond = range(self._recipe.num_steps, self._recipe.num_steps + _NUM_FIXED)
        return sum(self._loss(batches, step).item() for step in beyond) / _NUM_FIXED


def _adapters(dit: DiT, recipe: FinetuneRecipe) -> Adapters:
    return Adapters(dit, rank=recipe.lora_rank, alpha=recipe.lora_alpha, targets=recipe.lora_targets)


def _recompute_blocks(dit: DiT) -> None:
    """Keeps a block's input alone for the backward pass, which computes the rest again."""
    for block in dit.blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
