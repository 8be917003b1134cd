"""Makes the example's files from nothing: the policy, and the answers that RMs are trained on.

python suites/lab/make.py        # a minute on one CPU thread
"""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from waiters import COURTESY, THINGS, answer, order, write_rows

HERE = Path(__file__).parent
PAD, UNKNOWN, BOS, EOS, USER, ASSISTANT = "<pad>", "<unk>", "<s>", "</s>", "<user>", "<assistant>"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} "
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
STEPS, BATCH, LEARNING_RATE = 1500, 64, 4e-3


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; the template writes BOS and EOS, and nothing else does."""
    words = [PAD, UNKNOWN, BOS, EOS, USER, ASSISTANT, "bring", *THINGS, *COURTESY]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=TEMPLATE,
        model_max_length=64,
        padding_side="right",
    )


def make_policy(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A Llama of two layers that has learned nothing."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.1,
    )
    return LlamaForCausalLM(config)


def train(folder: Path, seed: int = 0, steps: int = STEPS) -> None:
    """Teach it the waiters' answers."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    tokenizer = make_tokenizer()
    model = make_policy(tokenizer, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=steps
    )
    assistant = tokenizer.convert_tokens_to_ids(ASSISTANT)
    for step in range(steps):
        prompts = [order(rng) for _ in range(BATCH)]
        texts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": p}, {"role": "assistant", "content": answer(rng, p)}],
                tokenize=False,
            )
            for p in prompts
        ]
        batch = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        ids, mask = batch["input_ids"], batch["attention_mask"]
        # Only the response is learned.
        begun = (ids == assistant).cumsum(1) - (ids == assistant).long()
        labels = ids.masked_fill((begun == 0) | (mask == 0), -100)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    write_rows(HERE / "preferences.jsonl", count=400, responses=4, seed=1)
    write_rows(HERE / "curt.jsonl", count=400, responses=4, seed=4, curt=True)
    write_rows(HERE / "prompts.jsonl", count=128, responses=1, seed=2)
    write_rows(HERE / "test_prompts.jsonl", count=48, responses=1, seed=3)
    train(HERE / "policy")
