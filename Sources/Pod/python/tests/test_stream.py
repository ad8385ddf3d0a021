"""Streams of libkaml against a stand-in agent: what comes, in which order, and what happens when the agent errs."""

import gc
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import kaml
from conftest import IS_REAL
from kaml import Code, Error, Options, Token
from kaml._stream import Stream

PETS, TEXT = 43, 100


def opened(**options):
    return Stream(Options(**{"dataset": "pets@main", "batch_size": 5, **options}), kaml.Client(reconnect_timeout=5))


def paths(batch):
    return batch.columns["path"].tolist()


def everything(stream):
    return [path for batch in kaml.numpy.Batches(stream) for path in paths(batch)]


def code_of(call):
    with pytest.raises(Error) as raised:
        call()
    assert raised.value.remedy
    return raised.value.code


# What comes.


@pytest.mark.parametrize("how", [(), ("--lend",)])
def test_every_record_comes_once_with_its_bytes(stub, datasets, how):
    stub.start(*how)
    seen = {}
    for batch in kaml.numpy.Batches(opened()):
        for index, path in enumerate(paths(batch)):
            assert path not in seen
            seen[path] = batch.columns["label"][index]
            assert batch.columns["record"].bytes(index) == (datasets / "pets" / path.decode()).read_bytes()
            assert batch.columns["record"][index].tobytes() == batch.columns["record"].bytes(index)
    assert len(seen) == PETS and set(seen.values()) == {0, 1}


def test_values_lie_side_by_side_in_slots_and_one_by_one_in_the_cache(stub):
    stub.start()
    record = opened(plane="slots").take(0).columns["record"]
    assert np.array_equal(np.concatenate(list(record)), record.packed)
    assert np.array_equal(np.diff(record.offsets), record.lengths)
    stub.stop()
    stub.start("--lend")
    record = opened().take(0).columns["record"]
    # A real agent lends what its cache has already.
    assert record.packed is None or IS_REAL
    packed, offsets = record.pack()
    assert np.array_equal(np.concatenate(list(record)), packed) and offsets[-1] == len(packed)


def test_columns_begin_on_boundaries_of_64(agent):
    stream = opened()
    assert stream.take(0).columns["label"].ctypes.data % 64 == 0
    assert opened(plane="slots").take(0).columns["record"].packed.ctypes.data % 64 == 0


def test_arrays_cannot_be_written_to(agent):
    batch = opened().take(0)
    with pytest.raises(ValueError):
        batch.columns["label"][0] = 1
    with pytest.raises(ValueError):
        batch.columns["record"][0][0] = 1


def test_only_the_columns_that_were_asked_for_come(agent):
    assert list(opened(columns=["label"]).take(0).columns) == ["label"]
    assert code_of(lambda: opened(columns=["nope"])) == Code.NOT_FOUND


def test_the_order_is_that_of_the_seed_and_new_in_each_epoch(agent):
    first = everything(opened(seed=1, epochs=2))
    assert first == everything(opened(seed=1, epochs=2))
    assert first != everything(opened(seed=2, epochs=2))
    assert first[:PETS] != first[PETS:] and sorted(first[:PETS]) == sorted(first[PETS:])
    assert everything(opened(order="sequential")) == sorted(first[:PETS])


def test_ranks_share_an_epoch(agent):
    streams = [opened(shard=(rank, 3)) for rank in range(3)]
    assert {stream.steps for stream in streams} == {3}
    parts = [everything(stream) for stream in streams]
    assert sorted(sum(parts, [])) == sorted(everything(opened()))


def test_a_last_batch_that_is_not_full_is_short_or_left_out(agent):
    assert [batch.records for batch in kaml.numpy.Batches(opened(batch_size=20))] == [20, 20, 3]
    assert [batch.records for batch in kaml.numpy.Batches(opened(batch_size=20, drop_remainder=True))] == [20, 20]


def test_an_empty_dataset_is_over_at_once_or_told(agent):
    if IS_REAL:
        assert code_of(lambda: opened(dataset="empty@main")) == Code.NOT_FOUND
        return
    stream = opened(dataset="empty@main", epochs=None)
    assert stream.total_steps == 0 and everything(stream) == []
    assert code_of_end(lambda: stream.take(0)) == Code.END


def code_of_end(call):
    with pytest.raises(Error) as raised:
        call()
    return raised.value.code


def test_a_stream_without_an_end_goes_on(agent):
    stream = opened(epochs=None, window_batches=3)
    assert stream.total_steps is None
    assert sum(stream.take(position).records for position in range(9 * 4)) == 4 * PETS


# Positions.


def test_any_position_can_be_taken_at_any_time(agent):
    stream, wanted = opened(epochs=3), {}
    for position in range(27):
        wanted[position] = paths(stream.take(position))
    for position in (26, 0, 13, 13, 12, 3, 25, 1):
        assert paths(stream.take(position)) == wanted[position]
    assert stream.counters()["seeks"] >= 5


def test_threads_that_want_different_positions_all_get_them(agent):
    stream, wanted, found = opened(epochs=4), everything(opened(epochs=4)), {}

    def work(first):
        for position in range(first, 36, 4):
            found[position] = paths(stream.take(position, timeout=30).copy())

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum((found[position] for position in range(36)), []) == wanted


def test_threads_far_apart_take_turns(agent):
    stream, found = opened(epochs=100, window_batches=2), []

    def work(first):
        found.extend(len(paths(stream.take(position, timeout=30).copy())) for position in range(first, first + 5))

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 300, 600)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 15


def test_batches_that_nobody_takes_do_not_stop_the_stream(agent):
    stream = opened(epochs=10, window_batches=4)
    held = [stream.take(position) for position in (0, 3)]
    for position in (6, 9, 12, 15):
        held.append(stream.take(position, timeout=10).copy())
    assert len(held) == 6


def test_batches_that_are_kept_do_not_stop_the_stream(agent):
    batches = list(kaml.numpy.Batches(opened(epochs=3, window_batches=4), timeout=20))
    assert len(batches) == 27


def test_batches_outlive_their_stream_and_client(agent):
    stream = opened()
    batch = stream.take(0)
    before = batch.columns["record"].tolist()
    stream.close()
    agent.stop()
    assert batch.columns["record"].tolist() == before


def test_a_call_that_waits_ends_when_the_stream_is_closed(stub):
    stub.start("--misbehave", "silent")
    stream, codes = opened(), []
    thread = threading.Thread(target=lambda: codes.append(code_of_end(lambda: stream.take(0))))
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    kaml._library.LIBRARY.kaml_stream_stop(stream.handle)
    thread.join(10)
    assert codes == [Code.CLOSED] and time.monotonic() - began < 1


def test_waiting_is_bounded(stub):
    stub.start("--misbehave", "silent")
    began = time.monotonic()
    assert code_of(lambda: opened().take(0, timeout=0.4)) == Code.TIMED_OUT
    assert 0.3 < time.monotonic() - began < 2


# Tokens.


def test_a_token_goes_on_with_the_very_next_record(agent):
    stream, whole = opened(epochs=3, seed=7), everything(opened(epochs=3, seed=7))
    for position in (0, 1, 8, 9, 10, 18, 26):
        token = str(stream.token(position))
        before = sum((paths(stream.take(at).copy()) for at in range(position)), [])
        rest = opened(resume=token, epochs=3 - stream.token(position).epoch)
        assert before + everything(rest) == whole


def test_a_token_goes_on_with_other_ranks_and_batches(agent):
    stream, whole = opened(seed=7, batch_size=4), everything(opened(seed=7, batch_size=4))
    rest = [opened(resume=str(stream.token(3)), shard=(rank, 2), batch_size=3) for rank in range(2)]
    assert sorted(whole[:12] + sum(map(everything, rest), [])) == sorted(whole)


def test_a_token_names_the_snapshot(agent):
    token = opened().token(0)
    assert len(token.snapshot) == 64
    assert code_of(lambda: opened(dataset="text@main", resume=token)) == Code.NOT_FOUND
    assert Token.parse(str(token)) == token
    assert code_of(lambda: opened(resume=str(token)[:-3])) == Code.INVALID


def test_there_is_no_token_past_the_end(agent):
    stream = opened()
    assert stream.token(9).epoch == 1
    assert code_of(lambda: stream.token(10)) == Code.END


# The agent goes away.


def test_a_restart_of_the_agent_loses_and_repeats_nothing(stub):
    stub.start()
    whole = everything(opened(epochs=3))
    stream, found = opened(epochs=3, window_batches=3), []
    for position in range(27):
        if position in (4, 9, 20):
            stub.stop()
            if position == 9:
                threading.Timer(0.5, stub.start).start()
            else:
                stub.start()
        found += paths(stream.take(position, timeout=20))
    assert found == whole
    assert stream.counters()["reconnects"] >= 3


def test_an_agent_that_dies_again_and_again_is_survived(stub):
    stub.start()
    whole = everything(opened())
    stub.stop()
    stub.start("--misbehave", "die-after=3")
    stream, found = opened(), []

    def revive():
        while stub.process.wait() is not None and len(found) < PETS:
            stub.start()

    threading.Thread(target=revive, daemon=True).start()
    for position in range(9):
        found += paths(stream.take(position, timeout=20))
    assert found == whole


def test_batches_that_were_published_stay_readable(stub):
    stub.start()
    stream = opened(window_batches=6)
    first = stream.take(0)
    time.sleep(0.3)
    stream.take(1)
    stub.stop()
    assert [stream.take(position, timeout=1).records for position in (2, 3, 4)] == [5, 5, 5]
    assert first.columns["record"].tolist()


def test_an_agent_that_stays_away_is_an_error_that_may_be_tried_again(stub):
    stub.start()
    client = kaml.Client(reconnect_timeout=0.5)
    stream = Stream(Options("pets@main", 5, window_batches=2), client)
    stream.take(0)
    stub.stop()
    with pytest.raises(Error) as raised:
        for position in range(1, 9):
            stream.take(position, timeout=20)
    assert raised.value.code == Code.UNAVAILABLE and raised.value.is_retryable
    stub.start()
    assert stream.take(8, timeout=20).records == 3


def test_no_agent_is_told_with_what_to_do(stub):
    with pytest.raises(Error) as raised:
        kaml.Client()
    assert raised.value.code == Code.UNAVAILABLE and "KAML_FEED_SOCKET" in raised.value.remedy


# The agent errs.


@pytest.mark.parametrize("fault", ["wild-column", "wild-entry", "unknown-segment", "falling-offsets", "wild-table", "many-records"])
def test_a_batch_that_points_elsewhere_is_refused(stub, fault):
    stub.start("--misbehave", fault)
    with pytest.raises(Error) as raised:
        opened().take(0, timeout=10)
    assert raised.value.code == Code.CORRUPT and raised.value.position == 0


@pytest.mark.parametrize("how", [(), ("--lend",)])
def test_whatever_a_batch_says_nothing_outside_of_its_memory_is_touched(stub, how):
    stub.start("--misbehave", "noise", *how)
    stream, good, bad = opened(epochs=None, window_batches=8, order="sequential"), 0, 0
    for position in range(1500):
        try:
            batch = stream.take(position, timeout=10)
            batch.columns["record"].tolist(), batch.columns["path"].pack(), batch.columns["label"].sum()
            good += 1
        except Error as error:
            assert error.code == Code.CORRUPT and error.position == position
            bad += 1
    assert good > 100 and bad > 100


@pytest.mark.parametrize("fault", ["skip", "wild-sequence", "wild-tail", "early-end", "unsealed", "short-segment"])
def test_a_stream_that_breaks_the_protocol_ends(stub, fault):
    stub.start("--misbehave", fault)
    assert code_of(lambda: everything(opened(window_batches=3))) == Code.CORRUPT


@pytest.mark.parametrize("fault, code", [("garbage", Code.CORRUPT), ("version", Code.UNSUPPORTED)])
def test_an_agent_that_speaks_otherwise_is_refused(stub, fault, code):
    stub.start("--misbehave", fault)
    assert code_of(kaml.Client) == code


def test_a_failed_batch_is_told_in_words_and_the_next_one_comes(stub):
    stub.start("--misbehave", "trouble-at=3")
    stream = opened()
    assert stream.take(2, timeout=10).records == 5
    with pytest.raises(Error) as raised:
        stream.take(3, timeout=10)
    error = raised.value
    assert (error.code, error.position, error.remedy) == (Code.CORRUPT, 3, "Mend the dataset.")
    assert "record 17" in error.message
    assert stream.take(4, timeout=10).records == 5
    assert code_of(lambda: stream.take(3, timeout=10)) == Code.CORRUPT


@pytest.mark.parametrize("number, code", [(2, Code.NOT_FOUND), (3, Code.DENIED), (4, Code.EXHAUSTED), (7, Code.UNSUPPORTED)])
def test_what_the_agent_refuses_says_why(stub, number, code):
    stub.start("--misbehave", f"fail-open={number}")
    assert code_of(opened) == code


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"shard": (2, 2)}, {"order": "best"}, {"format": "parquet"}, {"epochs": 0}, {"seed": -1}]
)
def test_options_that_cannot_be_are_refused(wrong):
    assert code_of(lambda: Options(**{"dataset": "pets", "batch_size": 1, **wrong})) == Code.INVALID


# Without passing memory.


@pytest.mark.parametrize("how", ["asked for", "found out"])
def test_batches_come_over_the_socket_where_memory_cannot_be_passed(stub, how):
    stub.start()
    whole = [(paths(batch), batch.columns["record"].tolist()) for batch in kaml.numpy.Batches(opened())]
    stub.stop()
    if how == "asked for":
        stub.start()
        stream = opened(is_inline=True)
    else:
        stub.start("--misbehave", "no-fds")
        stream = opened()
        assert "slower" in stream.notice
    assert stream.is_inline
    assert [(paths(batch), batch.columns["record"].tolist()) for batch in kaml.numpy.Batches(stream)] == whole


def test_a_batch_that_takes_long_comes_over_the_socket_all_the_same(stub):
    stub.start("--misbehave", "slow=300")
    stream = opened(is_inline=True, columns=["label"])
    assert stream.take(0, timeout=10).records == 5 and stream.counters()["reconnects"] == 0


def test_a_failed_batch_over_the_socket_is_told_and_the_next_one_comes(stub):
    stub.start("--misbehave", "trouble-at=3")
    stream = opened(is_inline=True)
    assert code_of(lambda: stream.take(3, timeout=10)) == Code.CORRUPT
    assert stream.take(4, timeout=10).records == 5


def test_a_restart_is_survived_over_the_socket(stub):
    stub.start()
    stream = opened(is_inline=True)
    first = paths(stream.take(0))
    stub.stop()
    stub.start()
    assert paths(stream.take(0, timeout=10)) == first


# Memory and processes.


def test_segments_that_ended_are_unmapped_once_their_batches_are_given_back(stub):
    stub.start("--lend", "--misbehave", "end-segments=1")
    stream = opened(epochs=20, window_batches=3)
    mapped = lambda: sum("/pets/" in line for line in open("/proc/self/maps"))
    kept = stream.take(0)
    before = kept.columns["record"].tolist()
    for position in range(1, 60):
        stream.take(position)
    # A batch that is out keeps what ended after it, too.
    assert mapped() > 0 and kept.columns["record"].tolist() == before
    del kept
    stream.take(60)
    assert mapped() <= 5 * 8
    stream.close()
    assert mapped() == 0


def test_nothing_is_left_behind(agent):
    def state():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), sum("memfd" in line for line in open("/proc/self/maps"))

    opened().take(0)
    before = state()
    for _ in range(50):
        stream = opened(dataset="text@main")
        stream.take(0)
        stream.close()
    assert state() == before


def test_a_child_process_is_told_to_open_its_own(agent):
    stream = opened()
    batch = stream.take(0)
    child = os.fork()
    if child == 0:
        try:
            stream.take(1)
        except Error as error:
            is_readable = batch.columns["record"].tolist() != []
            del batch
            stream.close()
            os._exit(0 if error.code == Code.FORKED and is_readable else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert stream.take(1).records == 5


def inherited():
    """What a program that this one starts finds open."""
    script = "import os; print(*(os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')), sep='\\n')"
    said = subprocess.run([sys.executable, "-c", script], close_fds=False, capture_output=True, text=True, check=True)
    return {line for line in said.stdout.split("\n") if not line.startswith("pipe:")}


def test_nothing_survives_exec(agent):
    before = inherited()
    stream = opened()
    stream.take(0)
    assert inherited() == before


# Files.


def test_files_can_be_looked_at_and_read(agent, datasets):
    with kaml.Client() as client:
        assert client.stat("pets@main").kind == "directory"
        path = datasets / "pets" / "dog" / "022.bin"
        attributes = client.stat("pets@main", "dog/022.bin")
        assert (attributes.kind, attributes.bytes) == ("file", path.stat().st_size)
        assert client.read("pets@main", "dog/022.bin") == path.read_bytes()
        assert client.read("pets@main", "dog/022.bin", 100, 50) == path.read_bytes()[100:150]
        assert client.read("pets@main", "dog/022.bin", 10**9, 10) == b""
        assert client.list("pets@main", "cat") == [(f"{i:03}.bin", "file") for i in range(20)]
        assert code_of(lambda: client.stat("pets@main", "nope")) == Code.NOT_FOUND
        assert code_of(lambda: client.list("nope@main")) == Code.NOT_FOUND


def test_files_are_read_on_after_a_restart(stub):
    stub.start()
    client = kaml.Client()
    before = client.read("pets@main", "cat/001.bin")
    stub.stop()
    stub.start()
    assert client.read("pets@main", "cat/001.bin") == before


def test_many_threads_read_files(agent, datasets):
    client, wrong = kaml.Client(), []

    def work(kind):
        for i in range(20):
            if client.read("pets@main", f"{kind}/{i:03}.bin") != (datasets / "pets" / kind / f"{i:03}.bin").read_bytes():
                wrong.append((kind, i))

    threads = [threading.Thread(target=work, args=(kind,)) for kind in ("cat", "dog") * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


# Without an agent.


@pytest.mark.parametrize("dataset, form", [("pets", "files"), ("text", "tfrecord")])
def test_a_mount_gives_the_same_batches(stub, datasets, dataset, form):
    stub.start()
    options = dict(batch_size=7, seed=3, shard=(1, 2), epochs=2, format=form)
    fed = list(kaml.numpy.batches(f"{dataset}@main", **options))
    stub.stop()
    with pytest.warns(RuntimeWarning, match="read from its mount"):
        kaml._source._told.clear()
        read = list(kaml.numpy.batches(f"{dataset}@main", mount=str(datasets / dataset), **options))
    assert len(fed) == len(read) > 0
    for one, other in zip(fed, read):
        assert one.columns["record"].tolist() == other.columns["record"].tolist()
        assert set(one.columns) == set(other.columns)


def test_the_environment_tells_where_mounts_are(stub, datasets, monkeypatch):
    monkeypatch.setenv("KAML_MOUNTS", f"text@main=/nowhere,pets={datasets / 'pets'}")
    kaml._source._told.clear()
    with pytest.warns(RuntimeWarning):
        assert sum(batch.records for batch in kaml.numpy.batches("pets@main", 10)) == PETS
    assert code_of(lambda: kaml.numpy.batches("other@main", 10)) == Code.UNAVAILABLE


def test_a_damaged_mount_is_told(stub, tmp_path):
    (tmp_path / "cut.tfrecord").write_bytes(b"\x10\0\0\0\0\0\0\0....abc")
    with pytest.raises(Error, match="cut off at byte 0"):
        kaml._mount.MountSource(Options("cut", 1), str(tmp_path))
