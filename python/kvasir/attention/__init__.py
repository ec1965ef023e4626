"""Attention over paged, ragged and block-sparse keys and values on CPUs.

The classes and functions have the names and arguments of FlashInfer, with and without the suffix
Wrapper. Arrays are numpy's, or anything with __dlpack__ in the memory of a CPU (torch, jax):
float32, float16 or bfloat16, read and written in place. Outputs are numpy arrays of the query's
dtype, or what out= gives. run() works without the GIL.

LSE is the natural logarithm of the sum of exponentials; FlashInfer's has base 2.
"""
from ._arrays import Variant, load_variant
from ._batch import (BatchAttention, BatchDecodeWithPagedKVCache, BatchPrefillWithPagedKVCache,
                     BatchPrefillWithRaggedKVCache, single_decode_with_kv_cache,
                     single_prefill_with_kv_cache)
from ._functions import (append_paged_kv_cache, append_paged_mla_kv_cache, cpu_target,
                         get_batch_indices_positions, get_num_threads, get_seq_lens, merge_state,
                         merge_state_in_place, merge_states, segment_packbits, set_num_threads)
from ._sampling import (chain_speculative_sampling, min_p_sampling_from_probs, sampling_from_logits,
                        sampling_from_probs, softmax, top_k_mask_logits, top_k_renorm_probs,
                        top_k_sampling_from_probs, top_k_top_p_sampling_from_logits,
                        top_k_top_p_sampling_from_probs, top_p_renorm_probs,
                        top_p_sampling_from_probs, tree_speculative_sampling)
from ._sparse import BatchMLAPagedAttention, BlockSparseAttention, MultiLevelCascadeAttention

BatchAttentionWrapper = BatchAttention
BatchDecodeWithPagedKVCacheWrapper = BatchDecodeWithPagedKVCache
BatchPrefillWithPagedKVCacheWrapper = BatchPrefillWithPagedKVCache
BatchPrefillWithRaggedKVCacheWrapper = BatchPrefillWithRaggedKVCache
BatchMLAPagedAttentionWrapper = BatchMLAPagedAttention
BlockSparseAttentionWrapper = BlockSparseAttention
MultiLevelCascadeAttentionWrapper = MultiLevelCascadeAttention

__all__ = [
    "BatchAttention", "BatchAttentionWrapper", "BatchDecodeWithPagedKVCache",
    "BatchDecodeWithPagedKVCacheWrapper", "BatchMLAPagedAttention", "BatchMLAPagedAttentionWrapper",
    "BatchPrefillWithPagedKVCache", "BatchPrefillWithPagedKVCacheWrapper",
    "BatchPrefillWithRaggedKVCache", "BatchPrefillWithRaggedKVCacheWrapper", "BlockSparseAttention",
    "BlockSparseAttentionWrapper", "MultiLevelCascadeAttention",
    "MultiLevelCascadeAttentionWrapper", "Variant", "append_paged_kv_cache", "append_paged_mla_kv_cache",
    "chain_speculative_sampling", "cpu_target", "get_batch_indices_positions", "get_num_threads",
    "get_seq_lens", "load_variant", "merge_state", "merge_state_in_place", "merge_states",
    "min_p_sampling_from_probs", "sampling_from_logits", "sampling_from_probs", "segment_packbits",
    "set_num_threads", "single_decode_with_kv_cache", "single_prefill_with_kv_cache", "softmax",
    "top_k_mask_logits", "top_k_renorm_probs", "top_k_sampling_from_probs",
    "top_k_top_p_sampling_from_logits", "top_k_top_p_sampling_from_probs", "top_p_renorm_probs",
    "top_p_sampling_from_probs", "tree_speculative_sampling",
]
