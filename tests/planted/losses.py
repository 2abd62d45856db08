"""Bugs in the losses."""

from __future__ import annotations

from planted.mutant import Mutant

EVERY_METHOD = "tests/test_every_method.py -k triple_loss"
ROW_LOSSES = "tests/lit_distill/losses/rows/test_row_losses.py"
MUTUAL = "tests/lit_distill/losses/fused/test_mutual.py"

LOSSES = (
    Mutant(
        "T squared dropped",
        "lit_distill/losses/rows/divergences.py",
        "return self.temperature**2 if self.t_squared else 1.0",
        "return 1.0",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "unmasked rows predict token 0",
        "lit_distill/batch.py",
        "torch.full((read_ids(batch).numel(),), IGNORED, device=rows.device)",
        "torch.zeros(read_ids(batch).numel(), dtype=torch.int64, device=rows.device)",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "the derivative of the soft cap is left out",
        "lit_distill/losses/fused/row_pass.py",
        "total.mul_(1 - (models[k].values / cap).square())",
        "pass",
        "tests/lit_distill/losses/fused/test_linear.py",
    ),
    Mutant(
        "the mixture is of log-probabilities",
        "lit_distill/losses/rows/mixtures.py",
        "torch.mul(p.probabilities, share).add_(q.probabilities, alpha=1 - share)",
        "torch.mul(p.log_probabilities, share).add_(q.log_probabilities, alpha=1 - share).exp_()",
        ROW_LOSSES,
    ),
    Mutant(
        "beta is the student's share of the mixture",
        "lit_distill/losses/rows/mixtures.py",
        "log_m = _mixture(p, q, self.beta).log_()",
        "log_m = _mixture(q, p, self.beta).log_()",
        ROW_LOSSES,
    ),
    Mutant(
        "beta at its ends gives a loss of zero without a word",
        "lit_distill/knobs.py",
        "Interval(gt=0, lt=1)",
        "Interval(ge=0, le=1)",
        ROW_LOSSES,
    ),
    Mutant(
        "the skewed divergence leaves out the teacher's entropy: not zero for equal models",
        "lit_distill/losses/rows/mixtures.py",
        "difference = torch.sub(p.log_probabilities, mixture.log())",
        "difference = -mixture.log()",
        ROW_LOSSES,
    ),
    Mutant(
        "the gradient is that of log-probabilities, not of logits",
        "lit_distill/losses/rows/row_loss.py",
        "return values, slope.addcmul_(q.probabilities, slope.sum(-1, keepdim=True), value=-1)",
        "return values, slope",
        ROW_LOSSES,
    ),
    Mutant(
        "entries that pad the vocabulary take part",
        "lit_distill/losses/fused/head.py",
        "return len(self.weight) if self.size is None else self.size",
        "return len(self.weight)",
        "tests/lit_distill/losses/test_every_loss.py",
    ),
    Mutant(
        "weights of rows change the values and not the gradients",
        "lit_distill/losses/fused/row_pass.py",
        "                total.mul_(weights.unsqueeze(1))\n",
        "                pass\n",
        "tests/lit_distill/losses/test_every_loss.py",
    ),
    Mutant(
        "the mass outside the likeliest tokens is forgotten",
        "lit_distill/losses/fused/signals.py",
        "left = -torch.expm1(total.clamp_max(0))",
        "left = torch.zeros_like(total)",
        "tests/lit_distill/losses/fused/test_signals.py",
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
        "the two sides of the KL are swapped",
        "lit_distill/losses/rows/divergences.py",
        "p, q = block.teacher.at(self.temperature), block.student.at(self.temperature)",
        "q, p = block.teacher.at(self.temperature), block.student.at(self.temperature)",
        "tests/lit_distill/losses/test_every_loss.py",
    ),
    Mutant(
        "the fused form forgets the temperature",
        "lit_distill/losses/rows/divergences.py",
        "p, q = block.teacher.at(self.temperature), block.student.at(self.temperature)",
        "p, q = block.teacher.at(1.0), block.student.at(1.0)",
        "tests/lit_distill/losses/test_every_loss.py",
    ),
    Mutant(
        "the temperature is the student's only",
        "lit_distill/losses/rows/divergences.py",
        "p, q = block.teacher.at(self.temperature), block.student.at(self.temperature)",
        "p, q = block.teacher.at(1.0), block.student.at(self.temperature)",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "the cap of the logits is forgotten",
        "lit_distill/losses/fused/head.py",
        "if self.cap is not None:",
        "if self.cap is None:",
        "tests/lit_distill/losses/fused/test_linear.py",
    ),
    Mutant(
        "the head's bias is forgotten",
        "lit_distill/losses/fused/head.py",
        "if self.bias is None:\n            for",
        "if True:\n            for",
        "tests/lit_distill/losses/fused/test_linear.py",
    ),
    Mutant(
        "softmaxes in the precision of the logits",
        "lit_distill/losses/rows/row_loss.py",
        "return logits.to(torch.promote_types(logits.dtype, torch.float32))",
        "return logits",
        f"tests/lit_distill/losses/fused/test_linear_precision.py {ROW_LOSSES}",
    ),
    Mutant(
        "relations are compared from the student to the teacher",
        "lit_distill/losses/relations.py",
        "divergences, slope = _divergence(scores, target)",
        "divergences, slope = _divergence(target, scores)",
        "tests/lit_distill/losses/test_relations.py",
    ),
    Mutant(
        "both models' relations are divided by the root of one width",
        "lit_distill/losses/relations.py",
        "return _Heads(queries * queries.shape[-1] ** -0.5, keys)",
        "return _Heads(queries * (self.teacher.queries.shape[-1] / self.heads) ** -0.5, keys)",
        "tests/lit_distill/losses/test_relations.py",
    ),
    Mutant(
        "each model gets the other's gradient",
        "lit_distill/losses/fused/row_pass.py",
        "for z, total in zip(logits[:models], totals, strict=True):",
        "for z, total in zip(logits[:models][::-1], totals, strict=True):",
        MUTUAL,
    ),
    Mutant(
        "a model hears itself among the others",
        "lit_distill/losses/fused/row_pass.py",
        "others, total = [*models[:k], *models[k + 1 :]], None",
        "others, total = models, None",
        MUTUAL,
    ),
    Mutant(
        "what is learnt pulls the teacher too: both halves of the symmetric KL",
        "lit_distill/losses/fused/row_pass.py",
        "            totals.append(total)",
        "            totals.append(total)\n"
        "            if k and total is not None and totals[0] is not None:\n"
        "                totals[0].sub_(total)",
        MUTUAL,
    ),
    Mutant(
        "the mean of the peers where each was asked for",
        "lit_distill/losses/fused/row_pass.py",
        "if self.to_mean else BlockSum",
        "if not self.to_mean else BlockSum",
        MUTUAL,
    ),
)
