"""Tiny models made of transformers' own configuration classes, saved where they can be loaded from.

None of them knows anything: the language models write what their weights were made to write, the
detectors what chance gave them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for turn in messages %}{% for part in turn.content %}"
    "{% if part.type == 'image' %}<image> {% else %}{{ part.text }} {% endif %}"
    "{% endfor %}{% endfor %}{% if loud is defined %}loud{% endif %}"
)
"""Writes no mark of the assistant, so that the last word of the prompt decides what follows."""


def word_tokenizer(words: Sequence[str]) -> Any:
    """Each word is a token; words that are none are `<unk>`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = ["<pad>", "<unk>", "<eos>", "<image>"]
    vocabulary = {word: number for number, word in enumerate([*marks, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<eos>",
        additional_special_tokens=["<image>"],
    )


def build_llava(folder: Path, follows: Mapping[str, str] | None = None) -> Path:
    """A LLaVA of two layers.

    Args:
        folder: Where it is saved.
        follows: Which word follows which: it then writes such a chain, `<eos>` being the end.
            None for random weights, with words of their own.
    """
    import torch
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    try:
        from transformers import CLIPImageProcessorPil as Pictures
    except ImportError:
        from transformers import CLIPImageProcessor as Pictures
    words = sorted({*(follows or {}), *(follows or {}).values()} - {"<eos>"})
    words = words or [f"w{number}" for number in range(60)]
    tokenizer = word_tokenizer(words)
    size = len(tokenizer)
    width = -(-size // 4) * 4
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            image_size=32, patch_size=16,
        ),
        text_config=LlamaConfig(
            vocab_size=size, hidden_size=width, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512,
            tie_word_embeddings=False, pad_token_id=0, bos_token_id=None, eos_token_id=2,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_seq_length=4,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    if follows:
        with torch.no_grad():
            # With silent layers the last token alone decides: one row a word, one column its heir.
            for name, weights in model.named_parameters():
                if "o_proj" in name or "down_proj" in name:
                    weights.zero_()
            model.get_input_embeddings().weight.zero_().fill_diagonal_(1.0)
            model.get_output_embeddings().weight.zero_()
            for word, heir in follows.items():
                one, other = tokenizer.convert_tokens_to_ids([word, heir])
                model.get_output_embeddings().weight[other, one] = 1.0
    else:
        with torch.no_grad():
            for weights in model.parameters():
                weights.mul_(12.0)
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    # What vendors ship for sampling must not disturb greedy replies.
    model.generation_config.do_sample = True
    model.generation_config.temperature = 0.7
    model.generation_config.top_k = 20
    model.save_pretrained(folder)
    processor = LlavaProcessor(
        image_processor=Pictures(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=tokenizer, patch_size=16, vision_feature_select_strategy="default",
        image_token="<image>", num_additional_image_tokens=1, chat_template=TEMPLATE,
    )  # fmt: skip
    processor.save_pretrained(folder)
    return folder


def build_grounding_dino(folder: Path, words: Sequence[str], *, mm: bool = False) -> Path:
    """A GroundingDINO of one layer, or an MM-GroundingDINO, whose tokenizer knows the words."""
    import torch
    from transformers import (
        BertConfig,
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoProcessor,
        MMGroundingDinoConfig,
        MMGroundingDinoForObjectDetection,
        SwinConfig,
    )

    try:
        from transformers import GroundingDinoImageProcessorPil as Pictures
    except ImportError:
        from transformers import GroundingDinoImageProcessor as Pictures
    # The model's code knows these tokens by number.
    fixed = {
        "[PAD]": 0,
        "[UNK]": 100,
        "[CLS]": 101,
        "[SEP]": 102,
        "[MASK]": 103,
        ".": 1012,
        "?": 1029,
    }
    known = {number: word for word, number in fixed.items()}
    known |= {200 + number: word for number, word in enumerate(words)}
    vocabulary = {known.get(number, f"[unused{number}]"): number for number in range(1100)}
    torch.manual_seed(0)
    shape = MMGroundingDinoConfig if mm else GroundingDinoConfig
    kind = MMGroundingDinoForObjectDetection if mm else GroundingDinoForObjectDetection
    config = shape(
        backbone_config=SwinConfig(
            image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2], window_size=4,
            out_features=["stage2", "stage3", "stage4"], out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(
            vocab_size=1100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=512,
        ),
        d_model=32, num_queries=20, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, num_feature_levels=4, max_text_len=24,
    )  # fmt: skip
    kind(config).save_pretrained(folder)
    GroundingDinoProcessor(
        image_processor=Pictures(size={"shortest_edge": 64, "longest_edge": 96}),
        tokenizer=BertTokenizerFast(vocab=vocabulary),
    ).save_pretrained(folder)
    return folder


def build_owlv2(folder: Path, words: Sequence[str]) -> Path:
    """An OWLv2 of two layers, whose pictures are filled up to squares of 32 pixels."""
    import torch
    from transformers import (
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2Processor,
        Owlv2TextConfig,
        Owlv2VisionConfig,
    )

    try:
        from transformers import Owlv2ImageProcessorPil as Pictures
    except ImportError:
        from transformers import Owlv2ImageProcessor as Pictures
    tokenizer = word_tokenizer(words)
    tokenizer.model_max_length = 16
    torch.manual_seed(0)
    text = Owlv2TextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=16, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    vision = Owlv2VisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=8,
    )  # fmt: skip
    config = Owlv2Config(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16
    )
    model = Owlv2ForObjectDetection(config)
    with torch.no_grad():
        # So small a model is drawn so wildly that scores and edges are all 0 or 1.
        for head in (model.box_head, model.class_head.logit_scale, model.class_head.logit_shift):
            for weights in head.parameters():
                weights.mul_(0.2)
    model.save_pretrained(folder)
    Owlv2Processor(
        image_processor=Pictures(size={"height": 32, "width": 32}), tokenizer=tokenizer
    ).save_pretrained(folder)
    return folder
