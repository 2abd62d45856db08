"""What the length of a response that nobody reads does to the loss: ours beside trl's GKDTrainer.

    python benchmarks/discarded_response.py

On-policy, the student continues the prompts and the data's own responses are thrown away. The same
prompts, models and draws, four lengths of responses: the loss must be the same. trl's `Trainer`
counts the tokens it divides by before the responses are replaced. Tiny random Llamas, rate 0, at
most 16 new tokens; needs trl (1.16).
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl.experimental.gkd import GKDConfig, GKDTrainer

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow, JensenShannon
from lit_distill.methods import GKD
from lit_distill.models import LanguageModel, Sampling, TeacherSpec

VOCABULARY, NEW, PROMPTS, LENGTHS = 64, 16, 4, (4, 16, 64, 256)
CHAT = "{% for m in messages %}{{ m.content }} {% endfor %}"


def llama(seed: int) -> LlamaForCausalLM:
    """Of random weights, far from uniform."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, intermediate_size=64, max_position_embeddings=512,
        initializer_range=0.3, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def trl_loss(length: int) -> float:
    """The loss that its first step logs."""
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}
    vocabulary |= {f"w{number}": number for number in range(4, VOCABULARY)}
    engine = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    engine.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=engine, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = CHAT
    asked = [f"w{10 + n} w{20 + n} w{30 + n}" for n in range(PROMPTS)]
    answer = " ".join(["w9"] * length)
    rows = [
        [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
        for text in asked
    ]
    config = GKDConfig(
        output_dir=tempfile.mkdtemp(), max_steps=1, per_device_train_batch_size=PROMPTS,
        learning_rate=0.0, lmbda=1.0, beta=0.5, temperature=1.0, max_new_tokens=NEW, max_length=400,
        gradient_checkpointing=False, bf16=False, use_cpu=True, logging_steps=1, seed=0,
        save_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip
    trainer = GKDTrainer(
        model=llama(1),
        teacher_model=llama(0),
        args=config,
        train_dataset=Dataset.from_dict({"messages": rows}),
        processing_class=tokenizer,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return float(trainer.state.log_history[0]["loss"])


def our_loss(length: int) -> float:
    """The loss of one window."""
    method = GKD(
        JensenShannon(0.5, t_squared=False),
        student_share=1.0,
        sampling=Sampling(NEW),
        teacher=TeacherSpec("in memory"),
    )
    method.students["student"] = LanguageModel(llama(1))
    method.teachers["teacher"] = LanguageModel(llama(0)).eval()
    method.endings = (2,)
    prompts = torch.tensor([[10 + n, 20 + n, 30 + n] for n in range(PROMPTS)])
    ids = torch.cat([prompts, torch.full((PROMPTS, length), 9)], 1)
    places = torch.arange(2, 2 + length) + torch.arange(PROMPTS).unsqueeze(1) * ids.shape[1]
    batch = Batch(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        prompt_ids=prompts,
        prompt_mask=torch.ones_like(prompts),
        rows=places.flatten(),
        targets=torch.full((PROMPTS * length,), 9),
        tokens=torch.arange(ids.numel()),
        language=torch.zeros(PROMPTS, dtype=torch.int64),
        sample_id=torch.arange(PROMPTS),
        counts={"tokens": ids.numel(), "sequences": PROMPTS, "rows": PROMPTS * length, "masked": 0},
    )
    (written,) = method.prepare([batch])
    window = AccumulationWindow.single(written, progress=0.0)
    return window.total_loss(method.losses(written, window)).item()


def main() -> None:
    print("tokens of the discarded response" + "".join(f"{length:>10}" for length in LENGTHS))
    for name, loss in (("lit_distill", our_loss), ("trl GKDTrainer", trl_loss)):
        print(f"{name:32}" + "".join(f"{loss(length):10.5f}" for length in LENGTHS), flush=True)


if __name__ == "__main__":
    main()
