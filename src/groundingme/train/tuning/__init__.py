"""Fine-tuning a multimodal model on a mixture, through TRL, PEFT and Accelerate.

Options (`options`), what is known of a base model before its weights are read (`base`), what it
will take (`memory`), the rows (`rows`), all of that together (`plans`), what methods share (`job`)
and how one trains (`sft`), what is watched meanwhile (`watching`, `stopping`), what is left at the
end (`finishing`); `running` leads from a plan to a finished folder.
"""
