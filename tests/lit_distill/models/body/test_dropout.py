"""A stream of random numbers is a function of its place, and disturbs nobody else's."""

from __future__ import annotations

import torch

from lit_distill.models import RandomStream


def drawn(stream: RandomStream) -> torch.Tensor:
    with stream.drawn(torch.device("cpu")):
        return torch.rand(3)


def test_it_depends_on_seed_name_and_place() -> None:
    def at(seed: int = 1, name: str = "a", place: tuple[int, ...] = (4, 0, 0)) -> torch.Tensor:
        stream = RandomStream(seed, name)
        stream.move_to(*place)
        torch.rand(7)  # whatever else is drawn
        return drawn(stream)

    assert torch.equal(at(), at())
    others = [
        at(seed=2),
        at(name="b"),
        at(place=(5, 0, 0)),
        at(place=(4, 1, 0)),
        at(place=(4, 0, 1)),
    ]
    assert not any(torch.equal(at(), other) for other in others)


def test_each_time_is_drawn_anew_and_a_place_can_be_taken_again() -> None:
    stream = RandomStream(1, "a")
    first = [drawn(stream), drawn(stream)]
    assert not torch.equal(*first)
    stream.move_to(0, 0, 0)
    assert not torch.equal(drawn(stream), first[0])
    stream.move_to("initial weights")
    assert torch.equal(drawn(stream), first[0])


def test_what_is_drawn_outside_goes_on() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    one = torch.rand(1)
    drawn(RandomStream(1, "a"))
    assert torch.equal(torch.cat([one, torch.rand(1)]), expected)
