"""A user table whose rows exist once their users are seen, for training with millions of users.

`UserRows` stands in for the encoder's `nn.Embedding` while a student is trained, and `RowAdamW`
updates the rows of the batch alone: a step costs the same whatever the number of users. Left out:
training on several devices, and the saved student, whose table is a plain one (`UserRows.settled`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from .inputs import UNKNOWN_USER


class UserRows(nn.Module):
    """Looks up rows as `nn.Embedding(num_users + 1, width, padding_idx=0)` does, made on demand.

    A row starts at N(0, std), drawn from `seed` and its own number, so that the order of the data
    does not change it; std 0 starts all at zero. A user without a row, and user 0, have the zero
    vector. Memory: 3 * width + 1 floats (the row, its two moments, its count of updates) for each
    user seen, half as much again in reserve, a copy while the room grows, and 8 bytes for each user
    there is.

    The rows of a training batch are the parameter `batch`, a new one in every step, so that
    gradient clipping sees them. `RowAdamW` writes them back.
    """

    slot: torch.Tensor  # (num_users + 1,), int64: where in `store` a user's row is; 0 for none
    store: torch.Tensor  # (room, 3 * width + 1); line 0 is zero

    def __init__(self, num_users: int, width: int, *, std: float, seed: int = 0) -> None:
        super().__init__()
        self.num_users, self.width, self.std, self.seed = num_users, width, std, seed
        self.batch = nn.Parameter(torch.empty(0, width))
        self.register_buffer("slot", torch.zeros(num_users + 1, dtype=torch.int64))
        self.register_buffer("store", torch.zeros(1, 3 * width + 1))
        self.used = 1  # lines of `store`

    def extra_repr(self) -> str:
        return f"{self.num_users}, {self.width}, std={self.std}, seed={self.seed}"

    def forward(self, user_ids: torch.Tensor) -> torch.Tensor:
        """user_ids (batch,), int64 -> rows (batch, width); in training, missing rows are made."""
        if not (self.training and torch.is_grad_enabled()):
            return self.store[self.slot[user_ids], : self.width]
        if self.batch.grad is not None:
            raise RuntimeError("UserRows: one batch a step; call optimizer.step and zero_grad")
        users, place = user_ids.unique(return_inverse=True)
        self._make(users[(self.slot[users] == 0) & (users != UNKNOWN_USER)])
        self.lines = self.slot[users]
        self.batch = nn.Parameter(self.store[self.lines, : self.width])
        return self.batch[place].masked_fill((user_ids == UNKNOWN_USER).unsqueeze(-1), 0)

    def put(self, users: torch.Tensor, rows: torch.Tensor) -> None:
        """Rows (count, width) of an earlier training for these users (count,), as if just made."""
        self._make(users)
        self.store[self.slot[users], : self.width] = rows.to(self.store)

    def _make(self, users: torch.Tensor) -> None:
        """Rows for these users (count,), who have none."""
        if not len(users):
            return
        end = self.used + len(users)
        if end > len(self.store):
            room = self.store.new_empty(max(end, 3 * len(self.store) // 2), 3 * self.width + 1)
            room[: self.used] = self.store[: self.used]
            self.store = room
        self.store[self.used : end] = 0
        if self.std:
            rows = torch.empty(len(users), self.width)  # on the CPU: the same on every device
            generator = torch.Generator()
            for row, user in zip(rows, users.tolist(), strict=True):
                generator.manual_seed((user + 0x9E3779B1 * self.seed) % 2**32)
                row.normal_(0, self.std, generator=generator)
            self.store[self.used : end, : self.width] = rows
        self.slot[users] = torch.arange(self.used, end, device=self.slot.device)
        self.used = end

    @torch.no_grad()
    def update(
        self, *, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        """One step of AdamW on the last batch's rows, from the gradient of `batch`."""
        gradient = self.batch.grad
        if gradient is None:
            return
        lines = self.store[self.lines]
        row, mean, square, count = lines.split([self.width, self.width, self.width, 1], dim=1)
        count += 1
        row *= 1 - lr * weight_decay
        mean.lerp_(gradient, 1 - betas[0])
        square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        # 1 - beta ** count, in a way that float32 does not round away
        unbiased = [-torch.expm1(count * math.log(beta)) for beta in betas]
        row -= lr / unbiased[0] * mean / ((square / unbiased[1]).sqrt() + eps)
        self.store[self.lines] = lines

    @property
    def seen(self) -> torch.Tensor:
        """Users with a row, ascending (count,), int64."""
        return self.slot.nonzero().squeeze(1)

    def settled(self) -> tuple[torch.Tensor, nn.Embedding]:
        """The users seen (count,), and a plain table of theirs: row 1 is the first of them."""
        seen = self.seen
        rows = torch.cat([self.store[:1, : self.width], self.store[self.slot[seen], : self.width]])
        return seen, nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=UNKNOWN_USER)

    # A checkpoint holds the rows that exist, with their moments; `batch` is no state.
    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        seen = self.seen
        destination[f"{prefix}seen"] = seen
        destination[f"{prefix}store"] = self.store[self.slot[seen]]

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        seen = state_dict[f"{prefix}seen"].to(self.slot.device)
        kept = state_dict[f"{prefix}store"].to(self.store)
        self.store = torch.cat([self.store[:1], kept])
        self.used = len(self.store)
        self.slot.zero_()
        self.slot[seen] = torch.arange(1, self.used, device=self.slot.device)


class RowAdamW(torch.optim.AdamW):
    """AdamW that treats the rows of `table` as the lazy thing they are, and all else as ever.

    A user's row, its moments and its weight decay change only in the steps that see this user, and
    its bias correction counts those steps; dense AdamW changes every row in every step, by its
    decaying momentum and by weight decay. Where every user is in every batch, both are the same.
    """

    def __init__(self, params: Any, *, table: UserRows, **options: Any) -> None:
        super().__init__(params, **options)
        self.table = table
        held = [any(p is table.batch for p in group["params"]) for group in self.param_groups]
        self.group = held.index(True)  # whose rate and weight decay the rows have

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        group = self.param_groups[self.group]
        self.table.update(**{k: group[k] for k in ("lr", "betas", "eps", "weight_decay")})
        self.table.batch.grad = None
        return loss
