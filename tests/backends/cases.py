"""The builder's call for each backend, and the actions that edits should run."""

from __future__ import annotations

CALLS = {
    "gguf": 'env.GGUF("dist/{name}.gguf", phi, precision="{precision}"{more})',
    "onnx": 'env.OnnxGenAI("dist/{name}-onnx", phi, precision="{precision}",'
    ' execution_provider="cpu"{more})',
    "openvino": 'env.OpenVINO("dist/{name}-ov", phi, precision="{precision}"{more})',
    "mlx": 'env.MLX("dist/{name}-mlx", phi, precision="{precision}"{more})',
}
INT4 = {"gguf": "", "onnx": "", "openvino": ", group_size=64", "mlx": ", group_size=64"}
CONVERTING = {
    "gguf": ["gguf.vocabulary", "gguf.metadata", "gguf.write"],
    "onnx": ["onnx.weights", "onnx.sidecar"],
    "openvino": ["openvino.weights", "openvino.tokenizer", "openvino.sidecar"],
    "mlx": ["mlx.weights", "mlx.sidecar"],
}
"""The actions that a clean int4 build runs, in order."""
TEMPLATE = {
    "gguf": ["gguf.metadata", "gguf.write"],
    "onnx": ["onnx.sidecar"],
    "openvino": ["openvino.sidecar"],
    "mlx": ["mlx.sidecar"],
}
"""The actions after an edit of the chat template."""
TENSOR = {
    "gguf": ["gguf.write"],
    "onnx": ["onnx.weights"],
    "openvino": ["openvino.weights"],
    "mlx": ["mlx.weights"],
}
"""The actions after a change of one tensor."""
RECIPE = TENSOR | {"mlx": ["mlx.weights", "mlx.sidecar"]}  # its config.json has the bits
"""The actions with another precision."""
TOOLCHAIN = TENSOR | {
    "gguf": ["gguf.vocabulary"],
    "openvino": ["openvino.weights", "openvino.tokenizer"],
}
"""The actions after a new version of a package that writes the same bytes."""


def artifact(backend: str, precision: str = "int4", *, more: str | None = None) -> str:
    """SConstruct lines that declare the model and an artifact of it."""
    if more is None:
        more = INT4[backend] if precision == "int4" else ""
    call = CALLS[backend].format(name="m", precision=precision, more=more)
    return f'phi = env.PhiModel("tiny")\na = {call}\n'


def path(backend: str) -> str:
    """The path of the artifact that `artifact` declares."""
    suffixes = {"gguf": ".gguf", "onnx": "-onnx", "openvino": "-ov", "mlx": "-mlx"}
    return f"dist/m{suffixes[backend]}"
