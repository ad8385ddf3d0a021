"""kaml.torch against an agent."""

import gc

import pytest

torch = pytest.importorskip("torch", reason="no PyTorch in this environment")

import kaml
import kaml.torch

PETS = 43


def dataset(**options):
    return kaml.torch.Dataset(**{"dataset": "pets@main", "batch_size": 5, "timeout": 20, **options})


def loaded(data, **options):
    return list(torch.utils.data.DataLoader(data, batch_size=None, **options))


def paths(batches):
    return [bytes(path.tolist()) for batch in batches for path in batch["path"]]


def test_tensors_are_the_records(agent, datasets):
    seen = 0
    for batch in loaded(dataset()):
        assert batch["label"].dtype == torch.int64 and len(batch["record"]) == len(batch["label"])
        for record, path in zip(batch["record"], batch["path"]):
            name = bytes(path.tolist()).decode()
            assert bytes(record.tolist()) == (datasets / "pets" / name).read_bytes()
            seen += 1
    assert seen == PETS


def test_large_columns_are_the_agents_memory_and_outlive_all_else(agent):
    stream = kaml.Stream(kaml.Options("pets@main", 43, plane="slots"), kaml.Client())
    batch = stream.take(0)
    packed = batch.columns["record"].packed
    shared = kaml.torch.tensor(packed)
    assert shared.data_ptr() == packed.ctypes.data
    before = int(shared.sum())
    del batch, packed
    stream.close()
    agent.stop()
    gc.collect()
    assert int(shared.sum()) == before


def test_workers_give_the_same_batches_in_the_same_order(agent):
    alone = paths(loaded(dataset(epochs=1)))
    assert paths(loaded(dataset(epochs=1), num_workers=2)) == alone


def test_ranks_and_workers_share_an_epoch(agent):
    parts = [paths(loaded(dataset(shard=(rank, 2)), num_workers=2)) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(paths(loaded(dataset())))


@pytest.mark.parametrize("taken", [1, 9, 12])
def test_a_state_goes_on_with_the_very_next_record(agent, taken):
    whole = paths(loaded(dataset(epochs=2)))
    data = dataset(epochs=2)
    iterator = iter(data)
    before = paths([next(iterator) for _ in range(taken)])
    state = data.state_dict()
    other = dataset(epochs=2)
    other.load_state_dict(state)
    assert before + paths(list(other)) == whole
    assert paths(list(other)) == whole


def test_keeping_all_batches_does_not_stop_the_loader(agent):
    assert len(loaded(dataset(epochs=4, window_batches=3))) == 36
