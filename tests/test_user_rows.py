"""Rows that are made when seen: the same vectors, the same AdamW, and only what training saw."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from prism_utils.students.user_rows import RowAdamW, UserRows

OPTIONS = dict(lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)


def steps(model, table, optimizer, batches):
    """A training whose loss depends on every row of a batch in its own way."""
    for batch in batches:
        optimizer.zero_grad()
        users = torch.tensor(batch)
        aims = torch.sin(users[:, None] * torch.arange(1.0, table.width + 1))
        loss = ((model(users) - aims) ** 2).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


class Student(nn.Module):
    """A table and something behind it that dense AdamW trains."""

    def __init__(self, table, width):
        super().__init__()
        self.table = table
        self.rest = nn.Linear(width, width)
        nn.init.eye_(self.rest.weight)
        nn.init.zeros_(self.rest.bias)

    def forward(self, users):
        return self.rest(self.table(users))


def sparse(num_users=5, width=4, **options):
    table = UserRows(num_users, width, **{"std": 0.5} | options)
    model = Student(table, width)
    return model, table, RowAdamW(model.parameters(), table=table, **OPTIONS)


def test_where_every_user_is_in_every_batch_it_is_dense_adamw():
    model, table, optimizer = sparse()
    model(torch.arange(1, 6))  # makes the rows
    seen, plain = table.settled()
    assert seen.tolist() == [1, 2, 3, 4, 5]
    plain.width = 4
    dense = Student(nn.Embedding(6, 4, padding_idx=0), 4)
    dense.table.load_state_dict(plain.state_dict())
    batches = [[3, 1, 2, 5, 4, 0, 3]] * 40
    steps(dense, table, torch.optim.AdamW(dense.parameters(), **OPTIONS), batches)
    steps(model, table, optimizer, batches)
    torch.testing.assert_close(table.settled()[1].weight, dense.table.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.rest.weight, dense.rest.weight, rtol=1e-5, atol=1e-6)
    assert (dense.table.weight - plain.weight).abs().max() > 0.1  # there was something to learn


def test_a_row_changes_only_in_steps_that_see_it_and_counts_only_those():
    model, table, optimizer = sparse()
    steps(model, table, optimizer, [[1, 2]])
    before = table.settled()[1].weight
    steps(model, table, optimizer, [[2, 3]] * 3)
    after = table.settled()[1].weight
    assert torch.equal(before[1], after[1]) and not torch.equal(before[2], after[2])
    assert table.store[table.slot[torch.tensor([1, 2, 3])], -1].tolist() == [1, 4, 3]
    # A first update moves every number by the learning rate, whenever it comes.
    late, lately, opt = sparse(std=0.0)
    steps(late, lately, opt, [[1]] * 20 + [[4]])
    torch.testing.assert_close(lately.store[lately.slot[4], :4].abs(), torch.full((4,), 0.01))


def test_first_rows_depend_on_seed_and_user_alone():
    one, other = (sparse(num_users=400)[1] for _ in range(2))
    one(torch.tensor([7, 300, 9]))
    for user in (9, 12, 7, 300):
        other(torch.tensor([user]))
    rows = [table.eval()(torch.tensor([7, 9, 300])) for table in (one, other)]
    assert torch.equal(*rows)
    assert not torch.equal(rows[0][0], rows[0][1])
    another = sparse(num_users=400, seed=1)[1]
    another(torch.tensor([7]))
    assert not torch.equal(another.eval()(torch.tensor([7])), rows[0][:1])
    many = UserRows(400, 64, std=0.5)
    many(torch.arange(401))
    drawn = many.settled()[1].weight[1:].detach()
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 0.5) < 0.02
    assert abs(float(torch.corrcoef(drawn[:2])[0, 1])) < 0.5
    zero = sparse(std=0.0)[1]
    assert zero(torch.tensor([1, 2])).abs().max() == 0 and zero.seen.tolist() == [1, 2]


def test_unknown_and_unseen_users_have_the_zero_vector_and_no_row():
    model, table, optimizer = sparse()
    steps(model, table, optimizer, [[0, 2, 0], [0, 4, 2]])
    table.eval()
    assert table(torch.tensor([0, 1, 3])).abs().max() == 0
    assert table(torch.tensor([2, 4])).abs().min(dim=1).values.min() > 0
    assert table.seen.tolist() == [2, 4]
    with torch.no_grad():  # nothing is made where nothing is trained
        table.train()(torch.tensor([1, 5]))
    assert table.seen.tolist() == [2, 4]
    seen, plain = table.settled()
    assert seen.tolist() == [2, 4] and plain.weight.shape == (3, 4)
    assert plain.padding_idx == 0 and plain.weight.requires_grad
    assert torch.equal(plain(torch.tensor([1, 2, 0])), table(torch.tensor([2, 4, 0])))


def test_memory_follows_the_users_seen():
    model, table, optimizer = sparse(num_users=100_000, width=8)
    steps(model, table, optimizer, [list(range(n, n + 50)) for n in range(1, 1001, 50)])
    assert table.used == 1001 and len(table.store) <= 1.5 * 1001 + 50
    assert table.store.shape[1] == 25


def test_a_state_goes_into_a_table_of_any_fill_and_training_goes_on_alike():
    batches = [[1, 2], [2, 5], [0, 3], [2, 1], [4, 3]]
    whole, table, optimizer = sparse()
    steps(whole, table, optimizer, batches)
    first, early, half = sparse()
    steps(first, early, half, batches[:2])
    for beforehand in ([], [[3, 4, 5], [1, 2]]):
        again, late, rest = sparse()
        steps(again, late, rest, beforehand)
        again.load_state_dict(first.state_dict())
        rest.load_state_dict(copy.deepcopy(half.state_dict()))
        assert late.seen.tolist() == [1, 2, 5]
        steps(again, late, rest, batches[2:])
        for name, value in whole.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), name
    assert set(whole.state_dict()) == {"table.seen", "table.store", "rest.weight", "rest.bias"}


def test_a_second_batch_before_the_update_is_refused():
    model, _, _ = sparse()
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="one batch a step"):
        model(torch.tensor([2]))
