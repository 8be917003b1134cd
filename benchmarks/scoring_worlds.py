"""What scoring is measured on: made-up texts or pools, a tokenizer, and a random Llama."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rmcheck.models.sample import Sample
from rmcheck.pool.pool import Message, Pool, Prompt

# Prompts at --scale 1, responses to each, median words of a prompt and of a response.
SETS = {
    "2 responses": (8, 2, 195, 90),
    "8 responses": (3, 8, 195, 90),
    "64 responses": (1, 64, 195, 90),
    "answers": (3, 8, 45, 270),
    "long prompts": (1, 8, 960, 380),
}
# hidden, layers, heads, key heads, intermediate: as Qwen2.5 0.5B and 1.5B, and Llama 3 8B.
SHAPES = {
    "13m": (384, 8, 6, 2, 1024),
    "36m": (512, 12, 8, 2, 1536),
    "0.5b": (896, 24, 14, 2, 4864),
    "1.5b": (1536, 28, 12, 2, 8960),
    "8b": (4096, 32, 32, 8, 14336),
}
WORDS = (
    *("a", "be", "can", "dog", "even", "from", "give", "have"),
    *("into", "just", "know", "long", "more", "never", "only", "people"),
)
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"]


def made_up_samples(prompts: int, responses: int, asked: int, answered: int) -> list[Sample]:
    """Lognormal word counts with these medians, of prompts and of responses."""
    rng = np.random.default_rng(responses)

    def text(median: int, spread: float) -> str:
        return " ".join(rng.choice(WORDS, int(rng.lognormal(np.log(median), spread)) + 1))

    samples = []
    for prompt in range(prompts):
        question = (Message("user", text(asked, 0.2)),)
        samples += [
            Sample(f"p{prompt}", i, question, text(answered, 0.5)) for i in range(responses)
        ]
    return samples


def pool_samples(pool: Pool, prompts: int) -> list[Sample]:
    """All responses of some prompts, evenly spaced among all by the characters of both."""

    def characters(prompt: Prompt) -> int:
        return sum(len(m.content) for m in prompt.messages) + sum(map(len, prompt.responses))

    ranked = sorted(pool.prompts, key=characters)
    chosen = {int((i + 0.5) * len(ranked) / prompts) for i in range(prompts)}
    return [
        Sample(ranked[at].prompt_id, i, ranked[at].messages, response)
        for at in sorted(chosen)
        for i, response in enumerate(ranked[at].responses)
    ]


def word_tokenizer() -> Any:
    """Knows the words above."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return core


def pool_tokenizer(pools: Iterable[Pool]) -> Any:
    """Byte-level BPE of 32,000 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=32_000,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (response for pool in pools for prompt in pool.prompts for response in prompt.responses)
    core.train_from_iterator(texts, trainer)
    return core


def save_tokenizer(folder: Path, core: Any) -> int:
    """The size of its vocabulary."""
    import transformers

    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=SPECIAL[4:],
    )
    tokenizer.chat_template = (
        "{{ bos_token }} {% for m in messages %}<|{{ m.role }}|> {{ m.content }} {% endfor %}"
        "{{ eos_token }}"
    )
    tokenizer.save_pretrained(folder)
    return int(core.get_vocab_size())


def random_llama(shape: str, vocabulary: int) -> Any:
    """A Llama with one logit, on torch's default device and in its default type."""
    import torch
    import transformers

    hidden, layers, heads, key_heads, intermediate = SHAPES[shape]
    torch.manual_seed(0)
    model = transformers.LlamaForSequenceClassification(
        transformers.LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=key_heads,
            max_position_embeddings=4096,
            num_labels=1,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=3,
        )
    )
    # Rewards of a standard deviation near one, so that differences can be read as such.
    torch.nn.init.normal_(model.score.weight, std=hidden**-0.5)
    return model.eval()


def saved_model(folder: Path, tokenizer: Any, shape: str, device: str, dtype: str) -> None:
    """Write the checkpoint that all contenders read."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    vocabulary = save_tokenizer(folder, tokenizer)
    torch.set_default_dtype(getattr(torch, dtype))
    with torch.device(device):
        random_llama(shape, vocabulary).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
