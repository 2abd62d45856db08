"""Bugs in the loop, in checkpoints, in commands and callbacks."""

from __future__ import annotations

from planted.mutant import Mutant

EVERY_METHOD = "tests/test_every_method.py -k triple_loss"
CO_DISTILLATION = "tests/lit_distill/methods/test_co_distillation.py"
UPDATES = "tests/lit_distill/training/test_updates.py"

TRAINING = (
    Mutant(
        "every update makes settings and checks them, for models that have none of their own",
        "lit_distill/training/updates.py",
        "self.per_model.get(name, _USUAL)",
        "self.per_model.get(name, ModelUpdate())",
        "tests/lit_distill/training/test_one_step.py",
    ),
    Mutant(
        "mean of means: each micro-batch divides by its own count",
        "lit_distill/losses/window.py",
        'sum(batch["counts"][name] for batch in batches)',
        'batches[0]["counts"][name] * len(batches)',
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "the division by the accumulation is not undone",
        "lit_distill/training/accumulation.py",
        "    return accumulate * again * trainer.world_size\n",
        "    return again * trainer.world_size\n",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "the averaging of gradients over ranks is not undone",
        "lit_distill/training/accumulation.py",
        "    return accumulate * again * trainer.world_size\n",
        "    return accumulate * again\n",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "each rank divides by its own count",
        "lit_distill/training/distillation.py",
        "reduce = accumulation.add_over_ranks if self.trainer.world_size > 1 else None",
        "reduce = None",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "weights applied twice",
        "lit_distill/losses/window.py",
        "return weight_at(weight, self.progress) / total",
        "return weight_at(weight, self.progress) ** 2 / total",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "teacher in training mode",
        "lit_distill/training/distillation.py",
        "            teacher.eval()\n",
        "            pass\n",
        "tests/lit_distill/training/test_distillation.py",
    ),
    Mutant(
        "student in eval mode: no dropout",
        "lit_distill/training/distillation.py",
        "        self.train()\n",
        "        self.eval()\n",
        "tests/lit_distill/training/test_distillation.py",
    ),
    Mutant(
        "teacher saved in every checkpoint",
        "lit_distill/training/checkpoints.py",
        "        del state[key]\n",
        "        pass\n",
        "tests/lit_distill/training/test_distillation.py",
    ),
    Mutant(
        "the loss is divided by the accumulation twice under DeepSpeed",
        "lit_distill/training/accumulation.py",
        "accumulate if trainer.strategy.handles_gradient_accumulation else 1",
        "1",
        "tests/lit_distill/training/test_strategies.py",
    ),
    Mutant(
        "the tokenizer is taken from another revision than its model",
        "lit_distill/cli/settings.py",
        """return f"{model['name']}@{revision}" if revision else str(model["name"])""",
        'return str(model["name"])',
        "tests/lit_distill/training/test_hub_run.py -k pins",
    ),
    Mutant(
        "rows of no group count in the last one",
        "lit_distill/measures/logits.py",
        "        return self.sums[:-1]",
        "        return torch.cat([self.sums[:-2], self.sums[-2:].sum(0, keepdim=True)])",
        "tests/lit_distill/measures/test_logits.py",
    ),
    Mutant(
        "a run goes on from another teacher cache",
        "lit_distill/training/checkpoints.py",
        "    if (before and before[1]) == (now and now[1]):\n",
        "    if True:\n",
        "tests/lit_distill/training/test_teacher_source.py",
    ),
    Mutant(
        "a half-written shard counts as whole",
        "lit_distill/tools/caching/cache_shards.py",
        "with replacing(path) as beside:",
        "for beside in [path]:",
        "tests/lit_distill/tools/caching/test_cache_teacher.py",
    ),
    Mutant(
        "the teacher's logits are on both sides",
        "lit_distill/training/logit_terms.py",
        "linear_losses(losses, whole, signal, targets, shares)",
        "linear_losses(losses, signal, signal, targets, shares)",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "switching to training mode gives nothing back",
        "lit_distill/training/distillation.py",
        "for p in student.parameters()))\n        return self",
        "for p in student.parameters()))",
        "tests/lit_distill/training/test_distillation.py",
    ),
    Mutant(
        "mean of means: divergences are divided by the number of texts",
        "lit_distill/methods/peers/_peer_method.py",
        'LogitTerm(peer.divergence, "rows", peer.weight)',
        'LogitTerm(peer.divergence, "sequences", peer.weight)',
        CO_DISTILLATION,
    ),
    Mutant(
        "one clipping norm over all models",
        "lit_distill/training/updates.py",
        "clip(parameters, limit)",
        "clip([p for own in self.parameters.values() for p in own], limit)",
        UPDATES,
    ),
    Mutant(
        "a model's own limit is not looked at",
        "lit_distill/training/updates.py",
        "self._own(name).clip or gradient_clip_val",
        "gradient_clip_val",
        UPDATES,
    ),
    Mutant(
        "a model's own rate is not looked at",
        "lit_distill/training/updates.py",
        "self._own(name).rate",
        "1.0",
        UPDATES,
    ),
    Mutant(
        "every micro-batch has the same dropout",
        "lit_distill/training/distillation.py",
        "self.cast.move_streams(self.global_step, micro, self.global_rank)",
        "self.cast.move_streams(self.global_step, 0, self.global_rank)",
        f"{CO_DISTILLATION} -k micro_batch",
    ),
    Mutant(
        "the average has dropout",
        "lit_distill/training/distillation.py",
        "student.train(mode and any(",
        "student.train(mode or any(",
        "tests/lit_distill/methods/test_mutual_learning.py -k average",
    ),
    Mutant(
        "the best of every student by one metric",
        "lit_distill/measures/measure.py",
        'return f"{stage}/{student}/{name}"',
        'return f"{stage}/large/{name}"',
        "tests/callbacks/saving/test_checkpoint.py -k own_best",
    ),
    Mutant(
        "gradients of an update are kept over the next forward",
        "lit_distill/training/updates.py",
        "            self._drop_gradients(self.parameters)",
        "            pass",
        UPDATES,
    ),
)
