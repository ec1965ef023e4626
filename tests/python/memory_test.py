"""Zero copy, DLPack, the GIL and forks."""
import os
import threading
import time

import numpy as np
import pytest

from batch_test import close, prefill
from kvasir import attention
from reference import Batch


class Lent:
    """A numpy array that shows nothing but DLPack, as other libraries' tensors do."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class LentOld(Lent):
    """The same with the protocol before version 1."""

    def __dlpack__(self):  # pylint: disable=arguments-differ
        return self.array.__dlpack__()


@pytest.mark.parametrize("lend", [Lent, LentOld])
def test_dlpack(lend):
    batch = Batch([(2, 40), (1, 17)])
    wrapper, expected = prefill(batch, causal=True), batch.reference(causal=True)
    out = np.empty((3, 4, 32), np.float32)
    lent = lend(out)
    result = wrapper.run(lend(batch.all_q), tuple(lend(x) for x in batch.cache), out=lent)
    assert result is lent
    close(out, expected[0])


def test_read_only_memory_of_dlpack_is_not_written():
    batch = Batch([(2, 40)])
    frozen = np.zeros((2, 4, 32), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        prefill(batch).run(batch.all_q, batch.cache, out=Lent(frozen))
    assert (frozen == 0).all()


def test_no_copy_of_keys_and_values():
    """The pages are 256 GiB of address space with a few tokens in them."""
    pages, page_size, dim = 1 << 26, 16, 32
    shape = (pages, page_size, 1, dim)
    k, v = (np.lib.stride_tricks.as_strided(np.zeros(dim, np.float32), shape, (0, 0, 0, 4))
            for _ in range(2))
    wrapper = attention.BatchDecodeWithPagedKVCache()
    wrapper.plan([0, 2], [pages - 1, 5], [7], 2, 1, dim, page_size)
    assert (wrapper.run(np.ones((1, 2, dim), np.float32), (k, v)) == 0).all()


def test_keys_are_read_where_they_are_at_every_run():
    batch = Batch([(1, 40)])
    wrapper = prefill(batch)
    wrapper.run(batch.all_q, batch.cache)
    batch.k_cache *= 0.5
    batch.v_cache += 1
    batch.k[0] *= np.float32(0.5)
    batch.v[0] += 1
    out = np.empty((1, 4, 32), np.float32)
    place = out.ctypes.data
    assert wrapper.run(batch.all_q, batch.cache, out=out) is out and out.ctypes.data == place
    close(out, batch.reference()[0])


def test_strided_arrays():
    batch = Batch([(3, 50)])
    wide_k, wide_v = (np.full(x.shape[:3] + (40,), np.nan, np.float32) for x in batch.cache)
    wide_k[..., :32], wide_v[..., :32] = batch.cache
    layers = np.stack([np.full_like(batch.all_q, np.nan), batch.all_q], axis=2)  # [row, head, 2, d]
    out = np.full((3, 4, 2, 32), np.nan, np.float32)
    lse = np.full((4, 3), np.nan, np.float32).T
    prefill(batch).run(layers[:, :, 1], (wide_k[..., :32], wide_v[..., :32]), out=out[:, :, 0],
                       lse=np.empty((3, 4), np.float32))
    expected, _ = batch.reference()
    close(out[:, :, 0], expected)
    assert np.isnan(out[:, :, 1]).all()
    with pytest.raises(ValueError, match="lse has a stride of 3 numbers in its last dimension"):
        prefill(batch).run(batch.all_q, batch.cache, lse=lse)


def test_the_gil_is_released():
    """Another thread counts on while a run of about a tenth of a second computes."""
    attention.set_num_threads(1)
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1024, heads, 64)).astype(np.float32) for heads in (8, 2, 2))
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.monotonic()
    for _ in range(3):
        attention.single_prefill_with_kv_cache(q, k, v)
    end = time.monotonic()
    done.set()
    thread.join()
    assert sum(begin < t < end for t in ticks) >= 5


def test_threads_of_python_take_turns():
    batches = [Batch([(3, 100 + i), (1, 40)], seed=i) for i in range(4)]
    wrappers = [prefill(batch, causal=True) for batch in batches]
    expected = [batch.reference(causal=True)[0] for batch in batches]
    errors = []

    def work(i):
        try:
            for _ in range(20):
                close(wrappers[i].run(batches[i].all_q, batches[i].cache), expected[i])
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i % 4,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_forked_child_has_threads_of_its_own():
    batch = Batch([(4, 300)])
    wrapper = prefill(batch)
    expected = wrapper.run(batch.all_q, batch.cache)
    child = os.fork()
    if child == 0:
        same = np.array_equal(wrapper.run(batch.all_q, batch.cache), expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_torch_tensors():
    torch = pytest.importorskip("torch")
    batch = Batch([(2, 40), (1, 17)])
    wrapper = prefill(batch, causal=True, q_data_type=torch.float32)
    q, k, v = (torch.from_numpy(x) for x in (batch.all_q, *batch.cache))
    out = torch.empty((3, 4, 32), dtype=torch.bfloat16)
    assert wrapper.run(q, (k, v), out=out) is out
    close(out.float().numpy(), batch.reference(causal=True)[0], 2**-8)
    half = tuple(x.to(torch.bfloat16) for x in (k, v))
    close(wrapper.run(q, half), batch.reference(causal=True)[0], 0.05)
    close(wrapper.run(q, torch.stack([k, v], dim=1)), batch.reference(causal=True)[0])
