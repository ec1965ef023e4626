"""Hooks of schemathesis for scripts/soak: generations are kept short, so that thousands of cases take minutes."""
import schemathesis

TOKENS_MAX = 3


@schemathesis.hook
def map_body(context, body):
    """Bounds the answer of a generated request that is otherwise left as it is."""
    if isinstance(body, dict) and ("messages" in body or "prompt" in body):
        body["max_tokens"] = TOKENS_MAX
        body.pop("max_completion_tokens", None)
    return body
