"""Bugs in what is compared of hidden states."""

from __future__ import annotations

from planted.mutant import Mutant

METHOD = "lit_distill/methods/hidden_states/hidden_states.py"
MAPS = "lit_distill/training/states/layer_maps.py"
TERMS = "lit_distill/training/states/state_terms.py"
LOSSES = "lit_distill/losses/state_losses.py"
BOUNDS = "lit_distill/losses/information.py"
TEXTS = "lit_distill/losses/coupled_states.py"
INFORMATION = "lit_distill/training/states/mutual_information.py"
CRITICS = "lit_distill/training/states/critics.py"
PROJECTIONS = "lit_distill/training/states/projections.py"
COMPUTED = "lit_distill/training/states/computed_projections.py"
BATTERY = "tests/test_every_method.py::test_gradient_depends_on_no_"
OF_BOUNDS = "tests/lit_distill/losses/test_information.py"
OF_INFORMATION = "tests/lit_distill/training/states/test_mutual_information.py"
OF_COMPUTED = "tests/lit_distill/training/states/test_computed_projections.py"
OF_METHOD = "tests/lit_distill/methods/test_hidden_states.py"
OF_LOSSES = "tests/lit_distill/losses/test_state_losses.py"

STATES = (
    Mutant(
        "the last state is read in front of the final norm",
        TERMS,
        "    if state == len(model.layers):\n        return None\n",
        "",
        f"{OF_METHOD} -k modernbert",
    ),
    Mutant(
        "states are those of the layer above",
        TERMS,
        'Site("hidden", state - 1) if state',
        'Site("hidden", state) if state',
        f"{OF_METHOD} -k own_hidden_states",
    ),
    Mutant(
        "every pair has the first one's projection",
        TERMS,
        "projection.name((own, other))",
        "projection.name(self.pairs[0])",
        f"{OF_METHOD} -k own_hidden_states",
    ),
    Mutant(
        "states at padding",
        TERMS,
        'return batch["tokens"], "tokens"',
        'return torch.arange(batch["input_ids"].numel()), "tokens"',
        "tests/test_every_method.py -k hidden_states",
    ),
    Mutant(
        "a uniform map that is rounded up",
        MAPS,
        "return [(i, i * teacher // student) for i",
        "return [(i, -(-i * teacher // student)) for i",
        f"{OF_METHOD} -k published",
    ),
    Mutant(
        "upper groups are the larger ones",
        MAPS,
        "min(i, more)",
        "max(0, i - count + more)",
        f"{OF_METHOD} -k published",
    ),
    Mutant(
        "normalised targets of another variance",
        LOSSES,
        "wanted = functional.layer_norm(teacher, teacher.shape[-1:], eps=self.eps)",
        "wanted = (teacher - teacher.mean(-1, True)) / (teacher.std(-1, keepdim=True) + self.eps)",
        OF_LOSSES,
    ),
    Mutant(
        "a sum over the width",
        LOSSES,
        'return functional.l1_loss(student, teacher, reduction="none").mean(-1).sum()\n\n',
        'return functional.l1_loss(student, teacher, reduction="none").sum()\n\n',
        OF_LOSSES,
    ),
    Mutant(
        "the cosine is not squashed",
        LOSSES,
        "return -functional.logsigmoid(functional.cosine_similarity(student, teacher, -1)).sum()",
        "return -functional.cosine_similarity(student, teacher, -1).sum()",
        OF_LOSSES,
    ),
    Mutant(
        "the own vector is among the negatives",
        BOUNDS,
        "        return own, ~own\n",
        "        return own, torch.ones_like(own)\n",
        f"{OF_BOUNDS} -k oracles",
    ),
    Mutant(
        "tokens of the same text are negatives",
        BOUNDS,
        "    return own, ~same\n",
        "    return own, ~own\n",
        f"{OF_BOUNDS} -k oracles",
    ),
    Mutant(
        "texts of other ranks with the same number are the same",
        BOUNDS,
        "same[:, first : first + rows] = texts.unsqueeze(1) == texts",
        "same[:, :rows] = texts.unsqueeze(1) == texts",
        f"{OF_BOUNDS} -k one_rank",
    ),
    Mutant(
        "as many vectors in the mean as there are texts",
        BOUNDS,
        "log_means = log_means - size.to(scores.dtype)",
        "log_means = log_means - (size + 1).to(scores.dtype)",
        f"{OF_BOUNDS} -k infonce",
    ),
    Mutant(
        "nobody is left out",
        BOUNDS,
        "    return torch.logaddexp(before, after)\n",
        "    return scores.logsumexp(1, keepdim=True).expand_as(scores)\n",
        f"{OF_BOUNDS} -k infonce",
    ),
    Mutant(
        "what is left out is taken off a sum",
        BOUNDS,
        "    return torch.logaddexp(before, after)\n",
        "    return (scores.logsumexp(1, keepdim=True).exp() - scores.exp()).log()\n",
        f"{OF_BOUNDS} -k drowns",
    ),
    Mutant(
        "an exponential without an end",
        BOUNDS,
        "STEEPEST = 20.0",
        "STEEPEST = 1e9",
        f"{OF_BOUNDS} -k huge",
    ),
    Mutant(
        "the shares are the wrong way round",
        BOUNDS,
        "log_means + math.log(alpha), baseline + math.log1p(-alpha)",
        "log_means + math.log1p(-alpha), baseline + math.log(alpha)",
        f"{OF_BOUNDS} -k oracles",
    ),
    Mutant(
        "a rank compares its own texts alone",
        METHOD,
        "over_ranks=self.training",
        "over_ranks=False",
        f"{BATTERY}number_of_ranks[state_information-bert-64-true]",
    ),
    Mutant(
        "gradients of texts that are compared can be accumulated",
        METHOD,
        "        self.couples = self.state_terms.couples\n",
        "        self.couples = ()\n",
        f"{BATTERY}padding_split_or_order[state_information-bert-64-true]",
    ),
    Mutant(
        "a mean over texts is divided by tokens",
        INFORMATION,
        'return "tokens" if self.unit == "token" else "sequences"',
        'return "tokens"',
        f"{OF_INFORMATION} -k packed",
    ),
    Mutant(
        "the teacher's projections learn from its states",
        INFORMATION,
        "for states in (student, teacher.detach())",
        "for states in (student, teacher)",
        f"{OF_INFORMATION} -k oracles",
    ),
    Mutant(
        "InfoNCE has a baseline that no gradient reaches",
        INFORMATION,
        "if self.alpha < 1:",
        "if self.alpha <= 1:",
        f"{OF_INFORMATION} -k alpha_one",
    ),
    Mutant(
        "packed texts of a row are one text",
        TEXTS,
        'if "segments" in batch:',
        'if "no segments" in batch:',
        f"{OF_INFORMATION} -k packed",
    ),
    Mutant(
        "a sum over a text's states",
        TEXTS,
        "return sums / self.lengths.unsqueeze(1)",
        "return sums",
        f"{OF_INFORMATION} -k texts_are",
    ),
    Mutant(
        "a bilinear critic without its scale",
        CRITICS,
        "return self.map(student) * self.scale, teacher",
        "return self.map(student), teacher",
        f"{OF_INFORMATION} -k score",
    ),
    Mutant(
        "the directions of the least variance",
        PROJECTIONS,
        "found = directions[: self.matrix.shape[1]].T",
        "found = directions[-self.matrix.shape[1] :].T",
        f"{OF_COMPUTED} -k lost",
    ),
    Mutant(
        "the mean is not taken off",
        PROJECTIONS,
        "rows.mean(0) if center else",
        "rows.mean(0) * 0 if center else",
        f"{OF_COMPUTED} -k lost",
    ),
    Mutant(
        "directions with the signs that LAPACK happens to give",
        PROJECTIONS,
        "found * largest.sign()",
        "found",
        OF_COMPUTED,
    ),
    Mutant(
        "a resumed run computes its directions anew",
        COMPUTED,
        "if all(isinstance(one, Directions) and one.is_computed for one in maps.values()):",
        "if not maps:",
        f"{OF_COMPUTED} -k saved",
    ),
    Mutant(
        "ranks compute directions from their own texts",
        COMPUTED,
        "gathered(own)[0].cpu()",
        "own.cpu()",
        f"{OF_COMPUTED} -k ranks",
    ),
    Mutant(
        "the first token of every text",
        COMPUTED,
        "tokens.index_select(0, starts + chosen)",
        "tokens.index_select(0, starts + 0 * chosen)",
        f"{OF_COMPUTED} -k drawn",
    ),
)
