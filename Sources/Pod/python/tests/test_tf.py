"""kaml.tf in stock TensorFlow, against a stand-in agent."""

import gc
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="no TensorFlow in this environment")

import conftest
import kaml
import kaml.tf
from conftest import IS_REAL
from kaml import Code, Error

PETS, TEXT = 43, 100


def feed(**options):
    return kaml.tf.dataset(**{"dataset": "pets@main", "batch_size": 5, "timeout": 20, **options})


def paths(dataset):
    return [path for element in dataset for path in element["path"].numpy().tolist()]


# Elements.


@pytest.mark.parametrize("how", [(), ("--lend",)])
@pytest.mark.parametrize("strings", ["auto", "copy"])
def test_elements_are_the_records(stub, datasets, how, strings):
    stub.start(*how)
    ds = feed(strings=strings)
    seen = 0
    for element in ds:
        for record, path in zip(element["record"].numpy(), element["path"].numpy()):
            assert record == (datasets / "pets" / path.decode()).read_bytes()
            seen += 1
    assert seen == PETS
    counters = kaml.tf.feed_of(ds).counters()
    # A real agent lends what its cache has already.
    assert IS_REAL or (counters["viewed_bytes"] > 0) == (bool(how) and strings == "auto")


def test_the_spec_and_the_cardinality_are_known(agent):
    ds = feed()
    assert ds.element_spec == {
        "record": tf.TensorSpec([None], tf.string),
        "label": tf.TensorSpec([None], tf.int64),
        "path": tf.TensorSpec([None], tf.string),
    }
    assert ds.cardinality().numpy() == 9
    assert feed(epochs=3).cardinality().numpy() == 27
    assert feed(epochs=None).cardinality().numpy() == tf.data.INFINITE_CARDINALITY
    assert feed(drop_remainder=True).element_spec["label"] == tf.TensorSpec([5], tf.int64)
    assert feed(as_tuple=True, columns=["record", "label"]).element_spec == (
        tf.TensorSpec([None], tf.string),
        tf.TensorSpec([None], tf.int64),
    )


def test_views_stay_good_when_all_else_is_gone(stub, datasets):
    stub.start("--lend", "--misbehave", "end-segments=1")
    kept = [(element["record"], element["path"]) for element in feed()]
    first = kept[0][0][1:3]
    gc.collect()
    stub.stop()
    for records, names in kept:
        for record, path in zip(records.numpy(), names.numpy()):
            assert record == (datasets / "pets" / path.decode()).read_bytes()
    assert first.numpy().tolist() == kept[0][0].numpy().tolist()[1:3]


def test_no_more_views_than_the_limit(stub):
    stub.start("--lend", "--misbehave", "end-segments=1")
    ds = feed(epochs=10, view_limit=1, client=kaml.Client())
    assert len(paths(ds)) == 10 * PETS
    counters = kaml.tf.feed_of(ds).counters()
    assert 0 < counters["viewed_bytes"] < counters["copied_bytes"]


@pytest.mark.parametrize("how", [(), ("--lend",)])
def test_ragged_values_are_the_bytes(stub, datasets, how):
    stub.start(*how)
    for plane in ("slots", None):
        for element in feed(ragged=True, plane=plane):
            rows = element["record"]
            assert isinstance(rows, tf.RaggedTensor) and rows.dtype == tf.uint8
            for i, path in enumerate(element["path"]):
                name = path.numpy().tobytes().decode()
                assert rows[i].numpy().tobytes() == (datasets / "pets" / name).read_bytes()


def test_large_columns_are_the_agents_memory(agent):
    ds = feed(ragged=True, batch_size=20, columns=["record"])
    sizes = [int(tf.size(element["record"].flat_values)) for element in ds]
    counters = kaml.tf.feed_of(ds).counters()
    large = sum(size for size in sizes if size >= 65536)
    assert large > 0 and counters["aliased_bytes"] == large


def test_tensors_that_are_kept_do_not_stop_the_feed(agent):
    kept = list(feed(ragged=True, batch_size=20, epochs=8, window_batches=3))
    assert len(kept) == 24
    totals = {int(tf.reduce_sum(tf.cast(element["record"].flat_values, tf.int64))) for element in kept}
    assert len(totals) > 1


# Pipelines.


def test_a_checkpoint_of_an_iterator_is_small_and_exact(agent, tmp_path):
    whole = paths(feed(epochs=2))
    ds = feed(epochs=2).map(lambda element: element["path"]).prefetch(2)
    iterator = iter(ds)
    before = [path for _ in range(11) for path in next(iterator).numpy().tolist()]
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
    size = sum(file.stat().st_size for file in tmp_path.iterdir() if "data-" in file.name)
    assert size < 4096
    restored = iter(feed(epochs=2).map(lambda element: element["path"]).prefetch(2))
    tf.train.Checkpoint(iterator=restored).restore(saved)
    assert before + [path for batch in restored for path in batch.numpy().tolist()] == whole


def test_a_restart_of_the_agent_in_the_middle_of_an_epoch_is_not_seen(stub):
    stub.start()
    whole = paths(feed(epochs=3))
    found = []
    for step, element in enumerate(feed(epochs=3, window_batches=3).prefetch(1)):
        if step in (4, 11):
            stub.stop()
            threading.Timer(0.3 * (step == 11), stub.start).start()
        found += element["path"].numpy().tolist()
    assert found == whole


def test_batching_mapping_and_shuffling_work_on_it(agent):
    ds = feed().unbatch().map(lambda element: tf.strings.length(element["record"]), num_parallel_calls=4)
    lengths = [int(length) for batch in ds.shuffle(10).batch(7).prefetch(tf.data.AUTOTUNE) for length in batch]
    assert sorted(lengths) == sorted([100 + 997 * i for i in range(20)] + [100 + 997 * i for i in range(23)])


def test_feeds_can_be_interleaved_and_zipped(agent):
    ds = tf.data.Dataset.range(3).interleave(lambda _: feed().map(lambda e: e["path"]), cycle_length=3, block_length=1)
    assert sum(batch.shape[0] for batch in ds) == 3 * PETS
    one = feed(seed=1)
    for left, right in tf.data.Dataset.zip((one, one)):
        assert left["path"].numpy().tolist() == right["path"].numpy().tolist()
    choice = tf.data.Dataset.sample_from_datasets([feed(seed=1), feed(seed=2)], seed=1)
    assert sum(element["label"].shape[0] for element in choice) == 2 * PETS


def test_a_function_can_iterate_it(agent):
    ds = feed()

    @tf.function
    def total():
        count = tf.constant(0, tf.int64)
        for element in ds:
            count += tf.size(element["label"], out_type=tf.int64)
        return count

    assert total().numpy() == PETS
    assert total().numpy() == PETS


def test_a_dataset_that_only_a_graph_knows_goes_on(agent):
    @tf.function
    def total():
        return feed().reduce(np.int64(0), lambda count, element: count + tf.size(element["label"], out_type=tf.int64))

    assert total().numpy() == PETS
    gc.collect()
    assert total().numpy() == PETS


def test_keras_fits_and_evaluates(agent):
    def example(record, label):
        head = tf.io.decode_raw(record, tf.uint8, fixed_length=64) if False else tf.io.decode_raw(tf.strings.substr(record, 0, 64), tf.uint8)
        return tf.cast(head, tf.float32) / 255, label

    ds = feed(as_tuple=True, columns=["record", "label"], epochs=3, drop_remainder=True).map(example).prefetch(2)
    steps = kaml.tf.feed_of(ds).steps
    model = tf.keras.Sequential([tf.keras.layers.Input([64]), tf.keras.layers.Dense(2)])
    model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(ds, epochs=3, steps_per_epoch=steps, verbose=0)
    assert len(history.history["loss"]) == 3
    once = feed(as_tuple=True, columns=["record", "label"], drop_remainder=True).map(example)
    model.fit(once, epochs=2, verbose=0)
    assert np.isfinite(model.evaluate(once, verbose=0))


def test_it_can_be_distributed(agent):
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    distributed = strategy.experimental_distribute_dataset(feed(drop_remainder=True))
    seen = sum(int(strategy.reduce("SUM", strategy.run(lambda e: tf.size(e["label"]), args=(element,)), axis=None)) for element in distributed)
    assert seen == 40


def test_each_rank_gets_its_own(agent):
    parts = [paths(feed(shard=(rank, 2))) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(paths(feed()))


def test_iterators_that_are_gone_give_their_streams_back(agent):
    ds = feed(epochs=5)
    for _ in range(5):
        iterators = [iter(ds) for _ in range(3)]
        for iterator in iterators:
            next(iterator)
        assert kaml.tf.feed_of(ds).counters()["streams"] >= 1
        del iterators, iterator
        gc.collect()
    assert kaml.tf.feed_of(ds).counters()["streams"] == 1


# Errors.


def test_a_failed_batch_is_an_error_in_words(stub):
    stub.start("--misbehave", "trouble-at=2")
    iterator = iter(feed())
    next(iterator), next(iterator)
    with pytest.raises(tf.errors.DataLossError, match="record 17 is damaged Mend the dataset"):
        next(iterator)
    assert next(iterator)["label"].shape[0] == 5


def test_waiting_for_a_batch_is_bounded(stub):
    stub.start("--misbehave", "silent")
    began = time.monotonic()
    with pytest.raises(tf.errors.DeadlineExceededError):
        next(iter(feed(timeout=0.5)))
    assert time.monotonic() - began < 5


def test_what_cannot_be_is_said_before_anything_is_read(agent):
    with pytest.raises(Error) as raised:
        feed(dataset="nope@main")
    assert raised.value.code == Code.NOT_FOUND
    with pytest.raises(ValueError):
        feed(strings="views")


def test_without_an_agent_the_mount_is_read(stub, datasets):
    stub.start()
    wanted = paths(feed(epochs=2))
    stub.stop()
    kaml._source._told.clear()
    with pytest.warns(RuntimeWarning, match="read from its mount"):
        ds = feed(epochs=2, mount=str(datasets / "pets"))
    assert paths(ds) == wanted and not kaml.tf.feed_of(ds).is_direct
    assert ds.element_spec["record"] == tf.TensorSpec([None], tf.string)
    rows = next(iter(feed(ragged=True, mount=str(datasets / "pets"))))["record"]
    assert isinstance(rows, tf.RaggedTensor)


# Files.


def test_files_are_read_through_tensorflow(agent, datasets):
    root = "kaml://pets@main"
    assert sorted(tf.io.gfile.listdir(f"{root}/")) == ["cat", "dog"]
    assert tf.io.gfile.glob(f"{root}/cat/00*.bin") == [f"{root}/cat/{i:03}.bin" for i in range(10)]
    assert tf.io.gfile.exists(f"{root}/cat/001.bin") and not tf.io.gfile.exists(f"{root}/cat/999.bin")
    assert tf.io.gfile.isdir(f"{root}/cat") and tf.io.gfile.isdir(root) and not tf.io.gfile.isdir(f"{root}/cat/001.bin")
    path = datasets / "pets" / "dog" / "022.bin"
    assert tf.io.gfile.stat(f"{root}/dog/022.bin").length == path.stat().st_size
    with tf.io.gfile.GFile(f"{root}/dog/022.bin", "rb") as file:
        assert file.read() == path.read_bytes()
        file.seek(100)
        assert file.read(10) == path.read_bytes()[100:110]
    assert tf.io.read_file(f"{root}/cat/003.bin").numpy() == (datasets / "pets" / "cat" / "003.bin").read_bytes()
    assert [len(found) for _, _, found in tf.io.gfile.walk(root)] == [0, 20, 23]


def test_tfrecords_are_read_through_tensorflow(agent):
    files = tf.data.Dataset.list_files("kaml://text@main/*.tfrecord", shuffle=False)
    direct = [record.numpy() for record in tf.data.TFRecordDataset(files)]
    fed = [record for element in feed(dataset="text@main", order="sequential") for record in element["record"].numpy()]
    assert len(direct) == TEXT and direct == fed


def test_datasets_cannot_be_written_to(agent, tmp_path):
    root = "kaml://pets@main"
    for change in (
        lambda: tf.io.gfile.GFile(f"{root}/new", "w").write("x"),
        lambda: tf.io.gfile.GFile(f"{root}/cat/001.bin", "a").write("x"),
        lambda: tf.io.gfile.makedirs(f"{root}/new"),
        lambda: tf.io.gfile.remove(f"{root}/cat/001.bin"),
        lambda: tf.io.gfile.rmtree(f"{root}/cat"),
        lambda: tf.io.gfile.rename(f"{root}/cat", f"{root}/kitten"),
    ):
        with pytest.raises(tf.errors.PermissionDeniedError, match="kaml commit"):
            change()
    tf.io.gfile.copy(f"{root}/cat/001.bin", str(tmp_path / "copy"))
    assert (tmp_path / "copy").stat().st_size == 1097


def test_names_that_are_none_are_told(agent):
    with pytest.raises(tf.errors.InvalidArgumentError, match="kaml://dataset@ref/path"):
        tf.io.gfile.stat("kaml:///x")
    with pytest.raises(tf.errors.NotFoundError):
        tf.io.gfile.stat("kaml://nope@main/x")
    with pytest.raises(tf.errors.FailedPreconditionError):
        tf.io.read_file("kaml://pets@main/cat").numpy()


def test_without_an_agent_files_are_read_from_their_mount(datasets, tmp_path):
    """In a process of its own, since a file system that has found an agent stays with it."""
    script = f"""
import tensorflow as tf, kaml.tf
root = "kaml://pets@main"
assert sorted(tf.io.gfile.listdir(root)) == ["cat", "dog"]
assert len(tf.io.gfile.glob(root + "/cat/00*.bin")) == 10 and tf.io.gfile.isdir(root + "/cat")
assert tf.io.read_file(root + "/cat/003.bin").numpy() == open({str(datasets / "pets" / "cat" / "003.bin")!r}, "rb").read()
assert not tf.io.gfile.exists(root + "/nope")
assert len(list(tf.data.TFRecordDataset("kaml://text@v1/part-0.tfrecord"))) == 40
for name in ("kaml://other@main/x", root + "/../text/part-0.tfrecord"):
    try:
        tf.io.gfile.stat(name)
        raise SystemExit(name)
    except tf.errors.UnavailableError:
        pass
"""
    environment = dict(
        os.environ,
        KAML_FEED_SOCKET=str(tmp_path / "none"),
        KAML_MOUNTS=f"pets@main={datasets / 'pets'},text={datasets / 'text'}",
        PYTHONPATH=os.path.dirname(conftest.PACKAGE),
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is read from its mount") == 1
