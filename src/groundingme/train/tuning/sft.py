"""Supervised fine-tuning through trl's SFTTrainer: the loss is that of the assistant's turn."""

from __future__ import annotations

from typing import Any

from groundingme.train.tuning import base as bases
from groundingme.train.tuning import rows as mixture_rows
from groundingme.train.tuning.job import Job, adapter, arguments


def make_trainer(job: Job) -> Any:
    """A trainer that is ready to train.

    Args:
        job: What is trained on what, and how.
    """
    from trl import SFTConfig, SFTTrainer

    model = bases.load_model(job.base, job.options, bf16=job.bf16)
    # Cut to a length, a row could lose part of its image; a prompt and a completion apart, as
    # mixtures have them, make trl mask the prompt.
    config = SFTConfig(**arguments(job), max_length=None, completion_only_loss=True)
    return SFTTrainer(
        model=model,
        args=config,
        train_dataset=mixture_rows.dataset(job.rows),
        processing_class=job.base.processor,
        peft_config=adapter(job),
        callbacks=[job.watcher],
    )
