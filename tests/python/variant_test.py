"""A variant of a user's own, compiled by the program and loaded by the module."""
import os
import subprocess

import numpy as np
import pytest

from batch_test import close, prefill
from kvasir import attention
from reference import Batch
from refusal_test import refused

HEADER = """
struct FallingLogits {
  float decay = 0;
  FloatLanes Logits(const AttentionRow& row, FloatLanes logits, FloatLanes keys) const {
    return logits - decay * (float(row.position()) - keys);
  }
};
KVASIR_ATTENTION_VARIANT(FallingLogits)

struct OlderHalf {
  LaneMask Visible(const AttentionRow& row, FloatLanes keys) const {
    return keys < float(row.position()) / 2.0f;
  }
};
KVASIR_ATTENTION_VARIANT(OlderHalf)
"""


@pytest.fixture(scope="module", name="path")
def built_object(tmp_path_factory):
    program = os.environ.get("KVASIR")
    if program is None:
        pytest.skip("KVASIR does not name the program that builds variants")
    folder = tmp_path_factory.mktemp("variants")
    (folder / "variants.h").write_text(HEADER)
    subprocess.run([program, "attention", "build", folder / "variants.h", "--output",
                    folder / "variants.so"], check=True, stdout=subprocess.DEVNULL)
    return folder / "variants.so"


def test_parameters(path):
    batch = Batch([(3, 60), (1, 20)], seed=3)
    variant = attention.load_variant(path, "FallingLogits")
    assert (variant.name, variant.params_bytes) == ("FallingLogits", 4)
    for decay in (0.25, 0.5):
        wrapper = prefill(batch, causal=True, variant=variant(np.float32([decay])))
        close(wrapper.run(batch.all_q, batch.cache),
              batch.reference(causal=True, slopes=[decay] * 4)[0])


def test_no_parameters(path):
    batch = Batch([(3, 60), (1, 20)], seed=3)
    wrapper = prefill(batch, causal=True, variant=attention.load_variant(path, "OlderHalf"))
    masks = [np.arange(n)[None] < (n - q + np.arange(q))[:, None] / 2 for q, n in batch.lens]
    close(wrapper.run(batch.all_q, batch.cache), batch.reference(masks=masks)[0])


def test_refusals(path):
    variant = attention.load_variant(path, "FallingLogits")
    refused("bytes", variant, b"123")
    refused("name is None", attention.load_variant, path)
    refused("name is 'Other'", attention.load_variant, path, "Other")
    refused("variants.h", attention.load_variant, path.with_suffix(".h"), "FallingLogits")
    refused("/no/such.so", attention.load_variant, "/no/such.so")
    refused("variant is a int", prefill, Batch([(1, 2)]), variant=3)
    refused("a variant replaces logits_soft_cap", prefill, Batch([(1, 2)]), logits_soft_cap=2.0,
            variant=variant(np.float32([1])))
