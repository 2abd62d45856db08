"""Bugs that peers have shipped or that we feared, planted one at a time.

Each is one textual change in one file and the tests that must turn red; `test_mutants.py` plants
them in a copy of the project.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A bug: in `file`, `old` (found exactly once) becomes `new`, and `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


EVERY_METHOD = "tests/test_every_method.py -k triple_loss"

MUTUAL = "tests/lit_distill/losses/test_mutual.py"

CO_DISTILLATION = "tests/lit_distill/methods/test_co_distillation.py"

UPDATES = "tests/lit_distill/test_updates.py"

ROW_LOSSES = "tests/lit_distill/losses/test_row_losses.py"

MUTANTS = (
    Mutant(
        "mean of means: each micro-batch divides by its own count",
        "lit_distill/window.py",
        'sum(batch["counts"][name] for batch in batches)',
        'batches[0]["counts"][name] * len(batches)',
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "the division by the accumulation is not undone",
        "lit_distill/distillation.py",
        "return loss * (accumulate * self.trainer.world_size)",
        "return loss * self.trainer.world_size",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "the averaging of gradients over ranks is not undone",
        "lit_distill/distillation.py",
        "return loss * (accumulate * self.trainer.world_size)",
        "return loss * accumulate",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "each rank divides by its own count",
        "lit_distill/distillation.py",
        "reduce = add_over_ranks if self.trainer.world_size > 1 else None",
        "reduce = None",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "weights applied twice",
        "lit_distill/window.py",
        "return weight_at(weight, self.progress) / total",
        "return weight_at(weight, self.progress) ** 2 / total",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "teacher in training mode",
        "lit_distill/distillation.py",
        "            teacher.eval()\n",
        "            pass\n",
        "tests/lit_distill/test_distillation.py",
    ),
    Mutant(
        "student in eval mode: no dropout",
        "lit_distill/distillation.py",
        "        self.train()\n",
        "        self.eval()\n",
        "tests/lit_distill/test_distillation.py",
    ),
    Mutant(
        "teacher saved in every checkpoint",
        "lit_distill/checkpoints.py",
        "        del state[key]\n",
        "        pass\n",
        "tests/lit_distill/test_distillation.py",
    ),
    Mutant(
        "teacher trained with the student",
        "lit_distill/models/teacher.py",
        ".requires_grad_(False)",
        "",
        "tests/lit_distill/models/test_teacher.py",
    ),
    Mutant(
        "T squared dropped",
        "lit_distill/losses/divergences.py",
        "return self.temperature**2 if self.t_squared else 1.0",
        "return 1.0",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "attention mask ignored",
        "lit_distill/models/language_model.py",
        "for n in self.anatomy.inputs if view + n in keys}",
        "for n in self.anatomy.inputs if view + n in keys and n != 'attention_mask'}",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "cosine over the student and itself",
        "lit_distill/methods/triple_loss.py",
        "share * cosine(states, its)",
        "share * cosine(states, states)",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "unmasked rows predict token 0",
        "lit_distill/batch.py",
        'torch.full((batch["input_ids"].numel(),), IGNORED, device=rows.device)',
        'torch.zeros(batch["input_ids"].numel(), dtype=torch.int64, device=rows.device)',
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "the type-0 embedding is not folded into the positions",
        "lit_distill/models/carving.py",
        "tensor = tensor.to(wide) + types[0].to(wide)",
        "tensor = tensor.to(wide)",
        "tests/lit_distill/models/test_carving.py",
    ),
    Mutant(
        "pads count as tokens",
        "data_modules/collation.py",
        '"tokens": len(tokens),',
        '"tokens": count * width,',
        "tests/data_modules/test_collation.py",
    ),
    Mutant(
        "the same masks in every pass",
        "data_modules/masking.py",
        "Purpose.MASK, texts.passes, texts.windows",
        "Purpose.MASK, texts.passes * 0, texts.windows",
        "tests/data_modules/test_masking.py",
    ),
    Mutant(
        "special tokens are masked",
        "data_modules/objectives.py",
        "        maskable[tokenizer.all_special_ids] = False\n",
        "",
        "tests/data_modules/test_objectives.py",
    ),
    Mutant(
        "the derivative of the soft cap is left out",
        "lit_distill/losses/tiles.py",
        "total.mul_(1 - (student.values / cap).square())",
        "total",
        "tests/lit_distill/losses/test_linear.py",
    ),
    Mutant(
        "carved layers take the kind of attention of their new place",
        "lit_distill/models/carving.py",
        'values["layer_types"] = [values["layer_types"][number] for number in picked]',
        'values["layer_types"] = values["layer_types"][: len(picked)]',
        "tests/lit_distill/models/test_carving.py",
    ),
    Mutant(
        "the loss is divided by the accumulation twice under DeepSpeed",
        "lit_distill/distillation.py",
        "            loss = loss * accumulate\n",
        "            pass\n",
        "tests/lit_distill/test_strategies.py",
    ),
    Mutant(
        "layers stay compiled while their projections are captured",
        "lit_distill/models/language_model.py",
        '    compiled = vars(layer).pop("forward", None)\n',
        "    compiled = None\n",
        "tests/lit_distill/models/test_execution.py",
    ),
    Mutant(
        "the revision of a model is dropped",
        "lit_distill/models/pretrained.py",
        '"revision": self.revision or "main"',
        '"revision": "main"',
        "tests/lit_distill/models/test_hub.py -k pinned",
    ),
    Mutant(
        "the tokenizer is taken from another revision than its model",
        "lit_distill/cli_settings.py",
        """return f"{model['name']}@{revision}" if revision else str(model["name"])""",
        'return str(model["name"])',
        "tests/lit_distill/test_hub_run.py -k pins",
    ),
    Mutant(
        "the revision of a dataset is dropped",
        "data_modules/hub_reader.py",
        "revision=self.revision,\n                    streaming",
        "streaming",
        "tests/data_modules/test_hub.py -k pinned",
    ),
    Mutant(
        "a tokenizer is opened without the files that the hub did not give",
        "lit_distill/models/hub.py",
        "raise HubGivesNothing(why)\n",
        "raise httpx2.ConnectError(why)\n",
        "tests/lit_distill/models/test_hub.py -k keeps",
    ),
    Mutant(
        "the mixture is of log-probabilities",
        "lit_distill/losses/mixtures.py",
        "torch.mul(p.probabilities, share).add_(q.probabilities, alpha=1 - share)",
        "torch.mul(p.log_probabilities, share).add_(q.log_probabilities, alpha=1 - share).exp_()",
        ROW_LOSSES,
    ),
    Mutant(
        "beta is the student's share of the mixture",
        "lit_distill/losses/mixtures.py",
        "log_m = _mixture(p, q, self.beta).log_()",
        "log_m = _mixture(q, p, self.beta).log_()",
        ROW_LOSSES,
    ),
    Mutant(
        "beta at its ends gives a loss of zero without a word",
        "lit_distill/losses/mixtures.py",
        "if not 0 < self.beta < 1:",
        "if not 0 <= self.beta <= 1:",
        ROW_LOSSES,
    ),
    Mutant(
        "the skewed divergence leaves out the teacher's entropy: not zero for equal models",
        "lit_distill/losses/mixtures.py",
        "difference = torch.sub(p.log_probabilities, mixture.log())",
        "difference = -mixture.log()",
        ROW_LOSSES,
    ),
    Mutant(
        "the gradient is that of log-probabilities, not of logits",
        "lit_distill/losses/row_loss.py",
        "return values, slope.addcmul_(q.probabilities, slope.sum(-1, keepdim=True), value=-1)",
        "return values, slope",
        ROW_LOSSES,
    ),
    Mutant(
        "entries that pad the vocabulary take part",
        "lit_distill/losses/head.py",
        "return len(self.weight) if self.size is None else self.size",
        "return len(self.weight)",
        "tests/lit_distill/losses/test_every_loss.py",
    ),
    Mutant(
        "weights of rows change the values and not the gradients",
        "lit_distill/losses/tiles.py",
        "            total.mul_(weights.unsqueeze(1))\n",
        "            pass\n",
        "tests/lit_distill/losses/test_every_loss.py",
    ),
    Mutant(
        "the mass outside the likeliest tokens is forgotten",
        "lit_distill/losses/signals.py",
        "left = -torch.expm1(total.clamp_max(0))",
        "left = torch.zeros_like(total)",
        "tests/lit_distill/losses/test_signals.py",
    ),
    Mutant(
        "an ensemble is the mean of logits whatever was asked for",
        "lit_distill/models/ensemble.py",
        '"probabilities": MeanOfProbabilities,',
        '"probabilities": MeanOfLogits,',
        "tests/lit_distill/models/test_ensemble.py",
    ),
    Mutant(
        "relation heads by a reshape that mixes positions with features",
        "lit_distill/losses/relations.py",
        "return split.transpose(1, 2).contiguous()",
        "return split.reshape(len(x), self.heads, x.shape[1], -1)",
        "tests/lit_distill/losses/test_relations.py -k permutation",
    ),
    Mutant(
        "padded keys are looked at",
        "lit_distill/losses/relations.py",
        "hidden = self.mask[sequences, None, None, :] == 0",
        "hidden = self.mask[sequences, None, None, :] < 0",
        f"{EVERY_METHOD.replace('triple_loss', 'minilm_v2-bert')}",
    ),
    Mutant(
        "padded queries count",
        "lit_distill/losses/relations.py",
        "counted = self.visible.mask.to(dtype)",
        "counted = torch.ones_like(self.visible.mask).to(dtype)",
        f"{EVERY_METHOD.replace('triple_loss', 'minilm_v2-bert')}",
    ),
    Mutant(
        "texts in one row look at each other",
        "lit_distill/losses/relations.py",
        "        if self.segments is not None:",
        "        if False:",
        "tests/lit_distill/methods/test_minilm_v2.py -k packed",
    ),
    Mutant(
        "a self-relation has the gradient of its queries only",
        "lit_distill/losses/relations.py",
        "slopes[0].add_(slopes[1])",
        "slopes[0]",
        "tests/lit_distill/losses/test_relations.py",
    ),
    Mutant(
        "the teacher is read one layer too low",
        "lit_distill/models/projections.py",
        "    return layer - 1\n",
        "    return max(layer - 2, 0)\n",
        "tests/lit_distill/methods/test_minilm_v2.py",
    ),
    Mutant(
        "the norm before the projections is left out",
        "lit_distill/models/projections.py",
        "read = hidden if norm is None else whole.get_submodule(norm)(hidden)",
        "read = hidden",
        "tests/lit_distill/models/test_projections.py",
    ),
    Mutant(
        "what no loss reaches stays trainable",
        "lit_distill/models/freezing.py",
        "if parameter.requires_grad and parameter not in reached:",
        "if False:",
        f"{EVERY_METHOD.replace('triple_loss', 'minilm_v2-bert')}",
    ),
    Mutant(
        "shared keys belong to the wrong heads",
        "lit_distill/methods/minilm.py",
        "split.repeat_interleave(count // heads, -2)",
        "split.repeat(1, 1, count // heads, 1)",
        "tests/lit_distill/methods/test_minilm.py",
    ),
    Mutant(
        "words without a tag count in the code-mixing index",
        "data_modules/code_mixing_statistics.py",
        "    total = sum(numbers)\n    return 100.0 * (1.0 - max(numbers) / total)",
        "    total = sum(numbers) + 1\n    return 100.0 * (1.0 - max(numbers) / total)",
        "tests/data_modules/test_code_mixing_statistics.py",
    ),
    Mutant(
        "a full stop or a name hides a switch",
        "data_modules/code_mixing_statistics.py",
        "        if tag is None:\n            continue\n        if before is not None",
        "        if tag is None:\n            before = None\n            continue\n"
        "        if before is not None",
        "tests/data_modules/test_code_mixing_statistics.py",
    ),
    Mutant(
        "rows of no group count in the last one",
        "lit_distill/measurement.py",
        "        return self.sums[:-1]",
        "        return torch.cat([self.sums[:-2], self.sums[-2:].sum(0, keepdim=True)])",
        "tests/lit_distill/test_measurement.py",
    ),
    Mutant(
        "both views of a pair are its source",
        "data_modules/parallel.py",
        "self.tgt(own[1], passes)",
        "self.tgt(own[0], passes)",
        "tests/data_modules/test_parallel.py",
    ),
    Mutant(
        "pieces of a word take the language of the next one",
        "data_modules/token_tags.py",
        'side="right") - 1',
        'side="right")',
        "tests/data_modules/test_code_mixed.py",
    ),
    Mutant(
        "a teacher cache is read for other masks than those of the batch",
        "lit_distill/models/teacher_cache.py",
        'items + batch["variant"].numpy() * self.item("windows")',
        "items + 0",
        "tests/lit_distill/tools/test_cache_teacher.py",
    ),
    Mutant(
        "rounding gives mass to tokens that a teacher cache does not hold",
        "lit_distill/models/teacher_cache.py",
        "log_p - surplus.unsqueeze(-1)",
        "log_p",
        "tests/lit_distill/tools/test_cache_teacher.py",
    ),
    Mutant(
        "every pass draws new masks although a cache holds a few",
        "data_modules/collation.py",
        "passes = passes % self.variants",
        "pass",
        "tests/data_modules/test_corpus.py",
    ),
    Mutant(
        "a run goes on from another teacher cache",
        "lit_distill/checkpoints.py",
        'if (then and then["fingerprint"]) != (now and now["fingerprint"]):',
        "if False:",
        "tests/lit_distill/test_learner.py",
    ),
    Mutant(
        "a half-written shard counts as whole",
        "lit_distill/tools/cache_shards.py",
        "with replacing(path) as beside:",
        "for beside in [path]:",
        "tests/lit_distill/tools/test_cache_teacher.py",
    ),
    Mutant(
        "each model gets the other's gradient",
        "lit_distill/losses/mutual.py",
        "for z, total in zip(logits, totals, strict=True):",
        "for z, total in zip(logits[::-1], totals, strict=True):",
        MUTUAL,
    ),
    Mutant(
        "a model hears itself among the others",
        "lit_distill/losses/mutual.py",
        "[*rows.logits[:k], *rows.logits[k + 1 :]]",
        "[*rows.logits]",
        MUTUAL,
    ),
    Mutant(
        "what is learnt pulls the teacher too: both halves of the symmetric KL",
        "lit_distill/losses/mutual.py",
        "            totals.append(total)",
        "            totals.append(total)\n"
        "            if k and total is not None and totals[0] is not None:\n"
        "                totals[0].sub_(total)",
        MUTUAL,
    ),
    Mutant(
        "the mean of the peers where each was asked for",
        "lit_distill/losses/mutual.py",
        "if self.to_mean else BlockSum",
        "if not self.to_mean else BlockSum",
        MUTUAL,
    ),
    Mutant(
        "mean of means: divergences are divided by the number of texts",
        "lit_distill/cohort.py",
        'LogitTerm(lesson.divergence, "rows", lesson.weight)',
        'LogitTerm(lesson.divergence, "sequences", lesson.weight)',
        CO_DISTILLATION,
    ),
    Mutant(
        "one clipping norm over all models",
        "lit_distill/updates.py",
        '[{"params": parameters}]',
        '[{"params": [p for own in self._own.values() for p in own]}]',
        UPDATES,
    ),
    Mutant(
        "a model's own limit is not looked at",
        "lit_distill/updates.py",
        "self.per_model.get(name, ModelUpdate()).clip or gradient_clip_val",
        "gradient_clip_val",
        UPDATES,
    ),
    Mutant(
        "a model's own rate is not looked at",
        "lit_distill/updates.py",
        "self.per_model.get(name, ModelUpdate()).rate",
        "1.0",
        UPDATES,
    ),
    Mutant(
        "all models draw the same dropout and the same initial weights",
        "lit_distill/models/dropout.py",
        'f"{self.seed} {self.name} {self._place} {self._times}"',
        'f"{self.seed} {self._place} {self._times}"',
        f"{CO_DISTILLATION} -k differently",
    ),
    Mutant(
        "every micro-batch has the same dropout",
        "lit_distill/distillation.py",
        "stream.move_to(self.global_step, micro, self.global_rank)",
        "stream.move_to(self.global_step, 0, self.global_rank)",
        f"{CO_DISTILLATION} -k micro_batch",
    ),
    Mutant(
        "lessons begin when one model is better than chance",
        "lit_distill/methods/co_distillation.py",
        "self.waiting = not all(",
        "self.waiting = not any(",
        f"{CO_DISTILLATION} -k chance",
    ),
    Mutant(
        "the average runs away with the student",
        "lit_distill/methods/mutual_learning.py",
        "kept.lerp_(new, 1 - self.decay)",
        "kept.lerp_(new, self.decay)",
        "tests/lit_distill/methods/test_mutual_learning.py -k average",
    ),
    Mutant(
        "the average has dropout",
        "lit_distill/distillation.py",
        "student.train(mode and any(",
        "student.train(mode or any(",
        "tests/lit_distill/methods/test_mutual_learning.py -k average",
    ),
    Mutant(
        "the best of every student by one metric",
        "lit_distill/measurement.py",
        'return f"{stage}/{student}/{name}"',
        'return f"{stage}/large/{name}"',
        "tests/callbacks/test_checkpoint.py -k own_best",
    ),
)
