"""The student is BART plus equation 5, and nothing else."""

from __future__ import annotations

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration

from prism_utils.errors import InputError
from prism_utils.students.prism import (
    PrismConfig,
    PrismForConditionalGeneration,
    from_checkpoint,
)
from prism_utils.students.vocabulary import train_tokenizer

SIZES = dict(
    vocab_size=60,
    d_model=16,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=32,
    decoder_ffn_dim=32,
    max_position_embeddings=40,
    init_std=0.2,
)


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    """A small BART checkpoint on disk, as `facebook/bart-base` is a large one."""
    torch.manual_seed(0)
    model = BartForConditionalGeneration(BartConfig(**SIZES)).eval()
    folder = tmp_path_factory.mktemp("bart")
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture
def batch():
    torch.manual_seed(1)
    input_ids = torch.randint(5, 60, (4, 9))
    mask = torch.ones_like(input_ids)
    input_ids[1, 6:], mask[1, 6:] = 1, 0
    return {
        "input_ids": input_ids,
        "attention_mask": mask,
        "labels": torch.randint(5, 60, (4, 7)),
    }


def test_a_bart_checkpoint_loads_unchanged_and_zero_vectors_give_its_outputs(bart, batch):
    reference, folder = bart
    student = PrismForConditionalGeneration.from_pretrained(folder, num_users=3).eval()
    weights = student.state_dict()
    for name, weight in reference.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    unknown = torch.zeros(4, dtype=torch.long)
    for users in ({}, {"user_ids": unknown}):
        assert torch.equal(student(**batch, **users).logits, reference(**batch).logits)
    source = {k: batch[k] for k in ("input_ids", "attention_mask")}
    for how in ({}, {"num_beams": 3}):
        ours = student.generate(**source, user_ids=unknown, max_new_tokens=8, **how)
        assert torch.equal(ours, reference.generate(**source, max_new_tokens=8, **how))


def test_equation_5_adds_the_vector_to_every_input_embedding(bart, batch):
    reference, folder = bart
    student = PrismForConditionalGeneration.from_pretrained(folder, num_users=3).eval()
    users = torch.tensor([1, 2, 3, 0])
    vectors = student.model.encoder.user_embeddings(users)
    by_hand = reference(
        inputs_embeds=reference.model.shared(batch["input_ids"]) + vectors[:, None],
        attention_mask=batch["attention_mask"],
        labels=batch["labels"],
    )
    assert torch.equal(student(**batch, user_ids=users).logits, by_hand.logits)


def test_user_token_placement_is_cao_and_lios(bart, batch):
    reference, folder = bart
    student = PrismForConditionalGeneration.from_pretrained(
        folder, num_users=3, placement="user_token", scale="1/sqrt(d)", user_token_id=4
    ).eval()
    batch["input_ids"][:, 0] = 4
    users = torch.tensor([1, 2, 3, 0])
    embeds = reference.model.shared(batch["input_ids"]).clone()
    embeds[:, 0] += student.model.encoder.user_embeddings(users) / 16**0.5
    by_hand = reference(
        inputs_embeds=embeds, attention_mask=batch["attention_mask"], labels=batch["labels"]
    )
    torch.testing.assert_close(student(**batch, user_ids=users).logits, by_hand.logits)


def test_the_ablation_has_no_user_table_and_ignores_users(bart, batch):
    reference, folder = bart
    student = PrismForConditionalGeneration.from_pretrained(folder, num_users=3, placement="none")
    student.eval()
    assert not hasattr(student.model.encoder, "user_embeddings")
    assert student.num_parameters() == reference.num_parameters()
    logits = student(**batch, user_ids=torch.tensor([1, 2, 3, 0])).logits
    assert torch.equal(logits, reference(**batch).logits)


def test_known_users_change_the_output_and_their_row_learns_but_row_0_stays_zero(bart, batch):
    _, folder = bart
    student = PrismForConditionalGeneration.from_pretrained(folder, num_users=3)
    table = student.model.encoder.user_embeddings
    before = table.weight.detach().clone()
    assert before[0].abs().max() == 0 and before[1:].abs().min(dim=1).values.max() > 0
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        student(**batch, user_ids=torch.tensor([0, 0, 1, 2])).loss.backward()
        optimizer.step()
    assert table.weight[0].abs().max() == 0
    assert (table.weight[1:3] - before[1:3]).abs().max() > 0.05


def test_user_dropout_hides_users_in_training_only(bart, batch):
    _, folder = bart
    student = PrismForConditionalGeneration.from_pretrained(
        folder, num_users=3, user_dropout=0.5, dropout=0.0
    )
    torch.manual_seed(0)
    seen = []
    hook = student.model.encoder.user_embeddings.register_forward_hook(
        lambda module, args, output: seen.append(args[0].clone())
    )
    users = torch.tensor([1, 2, 3, 1])
    for _ in range(200):
        student.train()(**batch, user_ids=users)
    share = (torch.stack(seen) == 0).float().mean()
    assert 0.42 < share < 0.58
    seen.clear()
    student.eval()(**batch, user_ids=users)
    hook.remove()
    assert torch.equal(seen[0], users)


def test_save_and_load_keep_everything(bart, batch, tmp_path):
    _, folder = bart
    student = PrismForConditionalGeneration.from_pretrained(folder, num_users=3, scale="1/sqrt(d)")
    student.eval().save_pretrained(tmp_path)
    again = PrismForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert (again.config.num_users, again.config.scale) == (3, "1/sqrt(d)")
    users = torch.tensor([1, 2, 3, 0])
    assert torch.equal(
        student(**batch, user_ids=users).logits, again(**batch, user_ids=users).logits
    )


def test_beam_search_and_batching_do_not_mix_users(bart, batch):
    _, folder = bart
    torch.manual_seed(3)
    student = PrismForConditionalGeneration.from_pretrained(folder, num_users=3).eval()
    with torch.no_grad():
        student.model.encoder.user_embeddings.weight[1:].normal_(0, 2)
    source = {k: batch[k] for k in ("input_ids", "attention_mask")}
    users = torch.tensor([3, 1, 2, 0])
    together = student.generate(**source, user_ids=users, num_beams=2, max_new_tokens=6)
    for i in range(4):
        alone = student.generate(
            **{k: v[i : i + 1] for k, v in source.items()},
            user_ids=users[i : i + 1],
            num_beams=2,
            max_new_tokens=6,
        )[0]
        assert torch.equal(together[i][: len(alone)], alone)
    sampled = student.generate(**source, user_ids=users, do_sample=True, max_new_tokens=6)
    assert sampled.shape[0] == 4


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"placement": "every_tokens"}, "did you mean 'every_token'"),
        ({"scale": "2"}, "scale: '2' is unknown"),
        ({"user_dropout": 1.0}, "user_dropout: 1.0"),
        ({"num_users": -1}, "num_users must be 0 or more, found -1"),
        ({"user_rank": -1}, "user_rank must be 0 or more, found -1"),
        ({"placement": "user_token"}, "needs user_token_id"),
    ],
)
def test_wrong_settings_are_named(wrong, says):
    with pytest.raises(InputError, match=says):
        PrismConfig(**wrong)


def test_a_student_starts_from_a_checkpoint_and_its_tokenizer(bart, tmp_path):
    reference, folder = bart
    tokenizer = train_tokenizer(["You liked Heat."], vocab_size=300)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tokenizer.save_pretrained(tmp_path)
    student, again = from_checkpoint(str(tmp_path), num_users=2, seed=1)
    assert again("Heat")["input_ids"] == tokenizer("Heat")["input_ids"]
    assert torch.equal(student.model.shared.weight[:60], reference.model.shared.weight)
    table = student.model.encoder.user_embeddings.weight
    assert table.shape == (3, 16) and table[1:].abs().min() > 0
    repeated, _ = from_checkpoint(str(tmp_path), num_users=2, seed=1)
    assert torch.equal(table, repeated.model.encoder.user_embeddings.weight)

    marked, tokens = from_checkpoint(
        str(tmp_path), num_users=2, placement="user_token", scale="1/sqrt(d)"
    )
    place = marked.config.user_token_id
    assert (
        tokens.decode([place]) == "<user>" and place < marked.get_input_embeddings().num_embeddings
    )
    ids = torch.tensor([tokens("<user> Heat")["input_ids"]])
    known = marked.eval()(input_ids=ids, labels=ids, user_ids=torch.tensor([1])).logits
    unknown = marked(input_ids=ids, labels=ids, user_ids=torch.tensor([0])).logits
    assert not torch.equal(known, unknown)


def test_a_user_table_that_does_not_fit_is_named(bart, tmp_path):
    _, folder = bart
    student = PrismForConditionalGeneration.from_pretrained(folder, num_users=3)
    student.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="user table has 3 users.*num_users=5"):
        PrismForConditionalGeneration.from_pretrained(tmp_path, num_users=5)


def test_a_low_rank_table_is_projected_saved_and_loaded(bart, batch, tmp_path):
    reference, folder = bart
    torch.manual_seed(0)
    student = PrismForConditionalGeneration.from_pretrained(folder, num_users=500, user_rank=4)
    encoder = student.eval().model.encoder
    assert encoder.user_embeddings.weight.shape == (501, 4)
    assert student.num_parameters() == reference.num_parameters() + 501 * 4 + 4 * 16
    # Projected vectors start with the spread of full-width ones, N(0, init_std).
    assert 0.15 < student.user_vectors()[1:].std() < 0.25
    users = torch.tensor([1, 2, 3, 0])
    vectors = encoder.user_embeddings(users) @ encoder.user_projection.weight.T
    by_hand = reference(
        inputs_embeds=reference.model.shared(batch["input_ids"]) + vectors[:, None],
        attention_mask=batch["attention_mask"],
        labels=batch["labels"],
    )
    torch.testing.assert_close(student(**batch, user_ids=users).logits, by_hand.logits)
    student.save_pretrained(tmp_path)
    again = PrismForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert again.config.user_rank == 4
    assert torch.equal(again.user_vectors(), student.user_vectors())


@pytest.mark.parametrize(
    "options",
    [{}, {"scale": "1/sqrt(d)"}, {"user_rank": 3}, {"user_rank": 3, "scale": "1/sqrt(d)"}],
)
def test_user_vectors_are_what_the_encoder_adds(bart, batch, options):
    reference, folder = bart
    student = PrismForConditionalGeneration.from_pretrained(folder, num_users=3, **options).eval()
    vectors = student.user_vectors()
    assert vectors.shape == (4, 16) and vectors[0].abs().max() == 0
    assert vectors[1:].abs().min(dim=1).values.min() > 0
    users = torch.tensor([3, 1, 0, 2])
    by_hand = reference(
        inputs_embeds=reference.model.shared(batch["input_ids"]) + vectors[users][:, None],
        attention_mask=batch["attention_mask"],
        labels=batch["labels"],
    )
    torch.testing.assert_close(student(**batch, user_ids=users).logits, by_hand.logits)


def test_without_a_table_the_user_vectors_are_zero(bart):
    student = PrismForConditionalGeneration.from_pretrained(
        bart[1], num_users=3, placement="none", user_rank=2
    )
    assert student.user_vectors().shape == (4, 16) and student.user_vectors().abs().max() == 0
    assert not any("user" in name for name in student.state_dict())


@pytest.mark.parametrize("rank", [0, 3])
def test_a_sparse_table_is_put_in_and_a_zero_one_starts_at_zero(bart, tmp_path, rank):
    reference, folder = bart
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    train_tokenizer(["You liked Heat."], vocab_size=300).save_pretrained(tmp_path)
    for init in ("normal", "zero"):
        student, _ = from_checkpoint(
            str(tmp_path), num_users=7, user_rank=rank, user_table="sparse", user_init=init
        )
        table = student.model.encoder.user_embeddings
        assert (table.num_users, table.width, student.config.num_users) == (7, rank or 16, 7)
        assert torch.equal(student.model.shared.weight[:60], reference.model.shared.weight)
        table(torch.tensor([2]))
        vectors = student.user_vectors()
        assert vectors.shape == (8, 16) and vectors[1].abs().max() == 0
        assert (vectors[2].abs().max() > 0) == (init == "normal")
        dense, _ = from_checkpoint(str(tmp_path), num_users=7, user_rank=rank, user_init=init)
        assert (dense.user_vectors()[1:].abs().max() > 0) == (init == "normal")
    for wrong in ({"user_table": "spares"}, {"user_init": "zeros"}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}: .* did you mean"):
            from_checkpoint(str(tmp_path), num_users=7, **wrong)
