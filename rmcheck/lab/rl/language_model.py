"""A language model as a policy of tokens: responses, their logits, and KL from another policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmcheck.errors import UsageError
from rmcheck.models.engines.torch.device import chosen_device
from rmcheck.pool.pool import Prompt
from rmcheck.pool.tool_calls import texts_alone

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Rollout:
    """Responses of a policy as tokens.

    Attributes:
        ids: (B, L) prompt, padded on the left, and response, padded on the right.
        attention: (B, L) 1 where a token counts.
        action: (B, T) the tokens of the response: the last T of `ids`.
        mask: (B, T) True up to the end of the response, its closing token included.
        texts: The B responses as text, without special tokens.
    """

    ids: "torch.Tensor"
    attention: "torch.Tensor"
    action: "torch.Tensor"
    mask: "torch.Tensor"
    texts: list[str]


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a policy.

    Raises:
        UsageError: It has no chat template, no pad token or no end token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for what in ("chat_template", "pad_token", "eos_token"):
        if not getattr(tokenizer, what, None):
            raise UsageError(f"{folder}: its tokenizer has no {what}, which training needs")
    return tokenizer


def load_policy(folder: Path, device: str = "auto") -> Any:
    """The policy, in float32.

    Raises:
        UsageError: There is no such device.
    """
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype="float32"
    )
    return model.to(chosen_device(device)).eval()


def sampled(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> Rollout:
    """One response to each prompt, drawn from the softmax over the whole vocabulary.

    Args:
        model: The policy.
        tokenizer: Its tokenizer.
        prompts: Repeat one to get several responses.
        max_tokens: T at most.
        temperature: What logits are divided by.
        seed: Of the draws; nothing else decides them.
    """
    import torch

    texts = [
        tokenizer.apply_chat_template(
            texts_alone(prompt), tokenize=False, add_generation_prompt=True
        )
        for prompt in prompts
    ]
    batch = tokenizer(
        texts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
    ).to(model.device)
    with torch.no_grad():
        torch.manual_seed(seed)
        ids = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=temperature,
            max_new_tokens=max_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    action = ids[:, batch["input_ids"].shape[1] :]
    end = action == tokenizer.eos_token_id
    mask = (end.long().cumsum(dim=1) - end.long()) == 0
    said = tokenizer.batch_decode(action.masked_fill(~mask, tokenizer.pad_token_id), True)
    attention = torch.cat([batch["attention_mask"], mask.long()], dim=1)
    return Rollout(ids, attention, action, mask, [text.strip() for text in said])


def response_logits(
    model: Any, ids: "torch.Tensor", attention: "torch.Tensor", width: int, temperature: float
) -> "torch.Tensor":
    """(B, T, V) logits from which each token of the response was drawn.

    Args:
        model: The policy.
        ids: (B, L) prompt and response.
        attention: (B, L) 1 where a token counts.
        width: T, tokens of the response: the last of each row.
        temperature: What logits are divided by.
    """
    positions = (attention.cumsum(dim=1) - 1).clamp(min=0)
    out = model(input_ids=ids, attention_mask=attention, position_ids=positions, use_cache=False)
    logits: torch.Tensor = out.logits[:, -width - 1 : -1].float() / temperature
    return logits


def sequence_kl(
    policy: "torch.Tensor", reference: "torch.Tensor", mask: "torch.Tensor"
) -> "torch.Tensor":
    """(B,) KL of the policy from the reference along a response: nats, 0 where they agree.

    At each token the sum over the whole vocabulary is exact; its mean over responses of the policy
    is KL(π‖π0) of whole responses, without the noise of log-ratios of the tokens that were drawn.

    Args:
        policy: (B, T, V) logits of the policy.
        reference: (B, T, V) logits of the initial policy.
        mask: (B, T) which tokens belong to the response.
    """
    log_p, log_q = policy.log_softmax(-1), reference.log_softmax(-1)
    each = (log_p.exp() * (log_p - log_q)).sum(-1)
    return each.masked_fill(~mask, 0.0).sum(-1)


def token_log_probs(logits: "torch.Tensor", action: "torch.Tensor") -> "torch.Tensor":
    """(B, T) log probability of each token that was drawn."""
    found: torch.Tensor = logits.log_softmax(-1).gather(-1, action[..., None])[..., 0]
    return found
